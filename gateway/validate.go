package gateway

import (
	"net/http"
	"time"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// validateToken is /validate-token. That a session is not valid is its
// answer, not its failure; it is recorded as a denial all the same, because it is
// what somebody meets who tries stolen or made-up sessions.
func (g *Gateway) validateToken(c *call) (any, *refusal) {
	var req v2.ValidateToken
	if refused := g.decode(c, maxTokenBody, &req); refused != nil {
		return nil, refused
	}
	if c.state == nil {
		return nil, notConfigured()
	}
	token := req.SessionToken()
	now := time.Now()
	_, until, err := g.verify(c, token)
	if err != nil {
		refused := g.stranger(c, "validate-token", token, err)
		if refused.status == http.StatusServiceUnavailable {
			return nil, refused // it could not be recorded
		}
		if token == "" {
			return nil, refuse(http.StatusBadRequest, "token is missing")
		}
		return v2.Validation{Reason: err.Error()}, nil
	}
	return v2.Validation{
		IsValid:    true,
		Expiration: until.UTC().Format(time.RFC3339),
		TTL:        until.Unix() - now.Unix(),
	}, nil
}

// describeSubClaims is /describe-sub-claims: what role rules will look at.
func (g *Gateway) describeSubClaims(c *call) (any, *refusal) {
	var req v2.DescribeSubClaims
	if refused := g.decode(c, maxTokenBody, &req); refused != nil {
		return nil, refused
	}
	claims, refused := g.claims(c, "describe-sub-claims", c.token(&req))
	if refused != nil {
		return nil, refused
	}
	return v2.SubClaims{SubClaims: claims.SubClaims}, nil
}
