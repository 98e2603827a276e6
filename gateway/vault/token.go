package vault

import (
	"net/http"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
)

// auth is how an answer tells a session. Durations are in seconds.
type auth struct {
	ClientToken   string            `json:"client_token"`
	Accessor      string            `json:"accessor"`
	Policies      []string          `json:"policies"`
	TokenPolicies []string          `json:"token_policies"`
	Metadata      map[string]string `json:"metadata"`
	LeaseDuration int64             `json:"lease_duration"`
	Renewable     bool              `json:"renewable"`
	EntityID      string            `json:"entity_id"`
	TokenType     string            `json:"token_type"`
	Orphan        bool              `json:"orphan"`
	MFA           *struct{}         `json:"mfa_requirement"`
	NumUses       int64             `json:"num_uses"`
}

// tokenType says that the session can be revoked, and may be renewable.
const tokenType = "service"

// policies are what Vault says of every token: which roles a session has is
// decided anew at each request.
func policies() []string { return []string{"default"} }

// granted is the answer to a login or a renewal.
func granted(token string, s *Session, now time.Time) *answer {
	return &answer{body: &envelope{RequestID: requestID(), Auth: &auth{
		ClientToken:   token,
		Accessor:      s.accessor(),
		Policies:      policies(),
		TokenPolicies: policies(),
		Metadata:      s.metadata(),
		LeaseDuration: seconds(s.Ends.Sub(now)),
		Renewable:     s.renewable(),
		TokenType:     tokenType,
		Orphan:        true,
	}}}
}

// accessor names the session to people, by what the audit log calls it. It says
// nothing of the token.
func (s *Session) accessor() string { return audit.SessionHash(s.Claims.ID) }

// renewable says whether the session can be made to last longer than now.
func (s *Session) renewable() bool {
	return s.Claims.Lease != 0 && s.Ends.Before(s.Claims.ExpiresAt())
}

// metadata is what Vault's Kubernetes auth method says of a token.
func (s *Session) metadata() map[string]string {
	return map[string]string{
		"role":                        s.Method.Name,
		"service_account_name":        s.claim(authmethod.ClaimServiceAccountName),
		"service_account_namespace":   s.claim(authmethod.ClaimNamespace),
		"service_account_secret_name": "", // a token review names no Secret
		"service_account_uid":         s.claim(authmethod.ClaimServiceAccountUID),
	}
}

// claim is a sub-claim that has one value; empty if there is none.
func (s *Session) claim(name string) string {
	if values := s.Claims.SubClaims[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func seconds(d time.Duration) int64 { return max(0, int64(d/time.Second)) }

// tokenInfo is what lookup-self says. Durations and times are in seconds.
type tokenInfo struct {
	Accessor       string            `json:"accessor"`
	CreationTime   int64             `json:"creation_time"`
	CreationTTL    int64             `json:"creation_ttl"`
	DisplayName    string            `json:"display_name"`
	EntityID       string            `json:"entity_id"`
	ExpireTime     time.Time         `json:"expire_time"`
	ExplicitMaxTTL int64             `json:"explicit_max_ttl"`
	ID             string            `json:"id"`
	IssueTime      time.Time         `json:"issue_time"`
	Meta           map[string]string `json:"meta"`
	NumUses        int64             `json:"num_uses"`
	Orphan         bool              `json:"orphan"`
	Path           string            `json:"path"`
	Policies       []string          `json:"policies"`
	Renewable      bool              `json:"renewable"`
	TTL            int64             `json:"ttl"`
	Type           string            `json:"type"`
}

// lookupSelf is auth/token/lookup-self.
func (h *Handler) lookupSelf(c *call) (*answer, error) {
	s := c.session
	first := s.Claims.Expiry
	if s.Claims.Lease != 0 {
		first = s.Claims.Lease
	}
	return data(tokenInfo{
		Accessor:       s.accessor(),
		CreationTime:   s.Claims.IssuedAt,
		CreationTTL:    first - s.Claims.IssuedAt,
		DisplayName:    s.Claims.Subject,
		ExpireTime:     s.Ends.UTC(),
		ExplicitMaxTTL: s.Claims.Expiry - s.Claims.IssuedAt,
		ID:             c.token,
		IssueTime:      time.Unix(s.Claims.IssuedAt, 0).UTC(),
		Meta:           s.metadata(),
		Orphan:         true,
		Path:           "auth/" + s.claim(authmethod.ClaimConfigName) + "/login",
		Policies:       policies(),
		Renewable:      s.renewable(),
		TTL:            seconds(time.Until(s.Ends)),
		Type:           tokenType,
	}), nil
}

// renewSelf is auth/token/renew-self. It makes the session last for its
// method's SessionTTL from now on, or for the increment if that is less, but
// never shorter than it would, and never beyond what the session itself says.
func (h *Handler) renewSelf(c *call) (*answer, error) {
	var req struct {
		Increment duration `json:"increment"`
	}
	if err := c.decode(maxBody, &req); err != nil {
		return nil, err
	}
	s := *c.session
	if s.Claims.Lease == 0 {
		return nil, refuse(http.StatusBadRequest, "lease is not renewable")
	}
	now := time.Now()
	life := s.Method.SessionLife(now)
	if wanted := time.Duration(req.Increment); wanted > 0 {
		life = min(life, wanted)
	}
	until := now.Add(life).Truncate(time.Second)
	if end := s.Claims.ExpiresAt(); until.After(end) {
		until = end
	}
	if until.After(s.Ends) {
		if err := c.as.RenewSession(c.Context(), until, s.Claims.ExpiresAt()); err != nil {
			return nil, err
		}
		s.Ends = until
	}
	return granted(c.token, &s, now), nil
}

// revokeSelf is auth/token/revoke-self.
func (h *Handler) revokeSelf(c *call) (*answer, error) {
	if err := c.begin(0); err != nil { // its body, if there is one, says nothing
		return nil, err
	}
	if err := c.as.RevokeSession(c.Context(), c.session.Claims.ExpiresAt()); err != nil {
		return nil, err
	}
	return done(), nil
}
