package vault

import (
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/review"
	"github.com/gatepass/gatepass/gateway/session"
)

// Reasons of refused logins that only this protocol has, as the audit log has
// them.
const (
	ReasonRoleMissing  = "role-missing"
	ReasonTokenMissing = "token-missing"
	ReasonRoleNotFound = "role-not-found"
	// ReasonSealed is that of a gateway without a configuration.
	ReasonSealed = "not-configured"
)

// Outcome is how a login ended.
type Outcome struct {
	Result audit.Result
	// Reason is the audit log's code.
	Reason string
	// Token, Claims and Method are set if it was granted.
	Token  string
	Claims *session.Claims
	Method *authmethod.Method
	// Status and Public are how the V2 API tells a refusal, and RetryAfter is when
	// to come again.
	Status     int
	Public     string
	RetryAfter time.Duration
}

// login is auth/<mount>/login.
func (h *Handler) login(c *call) (*answer, error) {
	var req struct {
		Role  string `json:"role"`
		Token string `json:"jwt"`
	}
	by := Credentials{Mount: c.mount}
	if by.Malformed = c.decode(maxBody, &req); by.Malformed == nil {
		by.Role, by.Token = req.Role, strings.TrimSpace(req.Token)
	}
	got := h.options.Login(c.Request, by)
	switch {
	case got.Result == audit.Granted:
	case by.Malformed != nil && got.Status < http.StatusInternalServerError:
		return nil, by.Malformed
	default:
		return nil, got.refusal(by.Role)
	}
	given := &Session{Claims: got.Claims, Ends: got.Claims.ExpiresAt(), Method: got.Method}
	if got.Claims.Lease != 0 {
		given.Ends = time.Unix(got.Claims.Lease, 0)
	}
	return granted(got.Token, given, time.Unix(got.Claims.IssuedAt, 0)), nil
}

// refusal says no in Vault's words. Whatever Vault tells nobody, the audit log
// has to tell: a token that the API server refused, an auth mount that does not
// exist and an address that is not bound are all "permission denied".
func (o *Outcome) refusal(role string) *refusal {
	switch o.Reason {
	case ReasonSealed:
		return refusalOf(ErrSealed)
	case ReasonRoleMissing:
		return refuse(http.StatusBadRequest, "missing role")
	case ReasonTokenMissing:
		return refuse(http.StatusBadRequest, "missing jwt")
	case ReasonRoleNotFound:
		return refuse(http.StatusBadRequest, "invalid role name "+quote(role))
	case string(authmethod.ReasonServiceAccount):
		return refuse(http.StatusForbidden, "service account name not authorized")
	case string(authmethod.ReasonNamespace):
		return refuse(http.StatusForbidden, "namespace not authorized")
	case string(authmethod.ReasonAudience), string(review.ReasonAudience):
		return refuse(http.StatusForbidden, "invalid audience (aud) claim: audience claim does not match any expected audience")
	case string(authmethod.ReasonPodName), string(authmethod.ReasonNotPodBound):
		// Vault has no such rule.
		return refuse(http.StatusForbidden, "pod name not authorized")
	}
	switch o.Status {
	case http.StatusUnauthorized:
		return refuse(http.StatusForbidden, textDenied)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		// Vault answers 403 also when it can't ask the API server, which tells clients
		// to give up. These have to come again.
		return &refusal{o.Status, []string{o.Public}, o.RetryAfter}
	}
	return refuse(o.Status, o.Public)
}
