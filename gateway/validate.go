package gateway

import (
	"net/http"
	"time"
)

// tokenRequest is how every command but /auth names its session.
type tokenRequest struct {
	Token    string `json:"token"`
	UIDToken string `json:"uid-token"`
}

func (r *tokenRequest) token() string {
	if r.Token != "" {
		return r.Token
	}
	return r.UIDToken
}

// validation is /validate-token's answer. TTL is in seconds.
type validation struct {
	IsValid    bool   `json:"is_valid"`
	Expiration string `json:"expiration,omitempty"`
	TTL        int64  `json:"ttl,omitzero"`
	Reason     string `json:"reason,omitempty"`
}

// validateToken is /validate-token. That a session is not valid is its
// answer, not its failure.
func (g *Gateway) validateToken(c *call) (any, *refusal) {
	var req tokenRequest
	if refused := c.decode(maxTokenBody, &req); refused != nil {
		return nil, refused
	}
	if c.state == nil {
		return nil, notConfigured()
	}
	if req.token() == "" {
		return nil, refuse(http.StatusBadRequest, "token is missing")
	}
	now := time.Now()
	claims, err := c.state.Sessions().Verify(req.token(), now)
	if err != nil {
		return validation{Reason: err.Error()}, nil
	}
	return validation{
		IsValid:    true,
		Expiration: claims.ExpiresAt().Format(time.RFC3339),
		TTL:        claims.Expiry - now.Unix(),
	}, nil
}

// subClaims is /describe-sub-claims' answer.
type subClaims struct {
	SubClaims map[string][]string `json:"sub_claims"`
}

// describeSubClaims is /describe-sub-claims: what role rules will look at.
func (g *Gateway) describeSubClaims(c *call) (any, *refusal) {
	var req tokenRequest
	if refused := c.decode(maxTokenBody, &req); refused != nil {
		return nil, refused
	}
	if c.state == nil {
		return nil, notConfigured()
	}
	claims, err := c.state.Sessions().Verify(req.token(), time.Now())
	if err != nil {
		return nil, refuse(http.StatusUnauthorized, "unauthorized: %s", err)
	}
	return subClaims{claims.SubClaims}, nil
}
