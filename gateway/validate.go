package gateway

import (
	"net/http"
	"time"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// validateToken is /validate-token. That a session is not valid is its
// answer, not its failure.
func (g *Gateway) validateToken(c *call) (any, *refusal) {
	var req v2.ValidateToken
	if refused := c.decode(maxTokenBody, &req); refused != nil {
		return nil, refused
	}
	if c.state == nil {
		return nil, notConfigured()
	}
	if req.SessionToken() == "" {
		return nil, refuse(http.StatusBadRequest, "token is missing")
	}
	now := time.Now()
	_, until, err := g.verify(c.state, req.SessionToken())
	if err != nil {
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
	if refused := c.decode(maxTokenBody, &req); refused != nil {
		return nil, refused
	}
	claims, refused := g.claims(c, "describe-sub-claims", c.token(&req))
	if refused != nil {
		return nil, refused
	}
	return v2.SubClaims{SubClaims: claims.SubClaims}, nil
}
