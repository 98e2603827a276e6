package gateway

import (
	"context"
	"time"
)

// catchUpTimeout bounds how long a call waits for what other gateways have committed.
// A store that works answers within milliseconds.
const catchUpTimeout = time.Second

// known says whether a call's state has what is looked for. If it has not, the call
// gets the state with all that other gateways have committed so far, which is looked
// at again: an auth method that was made a moment ago, and sessions of it, are not to
// be refused. c.state is there.
func (g *Gateway) known(c *call, look func(State) bool) bool {
	return look(c.state) || g.catchUp(c) && look(c.state)
}

// catchUp returns false if there is nothing new to look at.
func (g *Gateway) catchUp(c *call) bool {
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
