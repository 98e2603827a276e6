package gateway

import (
	"context"
	"time"

	"github.com/gatepass/gatepass/gateway/session"
)

// catchUpTimeout bounds how long a call waits for what other gateways have committed.
// A store that works answers within milliseconds.
const catchUpTimeout = time.Second

// catchUp gives a call the state that has all that other gateways have committed so
// far. It is for calls that would be refused because of what this gateway does not
// know: an auth method that was made a moment ago, and sessions of it. It does it once
// for a call, and returns false if there is nothing new to look at.
func (g *Gateway) catchUp(c *call) bool {
	if c.caughtUp {
		return false
	}
	c.caughtUp = true
	ctx, cancel := context.WithTimeout(c.Context(), catchUpTimeout)
	defer cancel()
	if g.catalog.CatchUp(ctx) != nil {
		return false // the store can't be asked, which others log
	}
	state := g.state()
	if state == nil {
		return false
	}
	c.state = state
	return true
}

// verifier verifies the session of one request.
type verifier struct {
	gateway *Gateway
	call    *call
}

// Authenticate implements tokenreview.Sessions.
func (v verifier) Authenticate(token string) (*session.Claims, error) {
	claims, _, err := v.gateway.verify(v.call, token)
	return claims, err
}
