package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gatepass/gatepass/agent/backoff"
	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/marker"
)

const (
	// waitTick is how often Wait looks; a look is one failed or short read.
	waitTick = 25 * time.Millisecond
	// waitGrace lets the agent, which may start a little later than the hook,
	// be the one who says why there is no session.
	waitGrace = 2 * time.Second
)

// Wait blocks until the sidecar with the same configuration has written its
// first session. It is what the sidecar's postStart hook runs, which holds the
// application back. If the sidecar fails, its error comes back, with its code;
// if it says nothing for the whole timeout, an *Error of ExitNotReady.
func Wait(ctx context.Context, c config.Config) error {
	if err := c.Validate(); err != nil {
		return &Error{ExitConfig, err}
	}
	if c.Mode != config.ModeSidecar {
		return &Error{ExitConfig, fmt.Errorf("GATEPASS_MODE: waiting is for mode %s; in mode %s there is no agent to wait for", config.ModeSidecar, c.Mode)}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout+waitGrace)
	defer cancel()
	dir := filepath.Dir(c.TokenFile)
	for {
		state, ok, err := marker.Read(dir)
		switch {
		case ok && state.Code == 0:
			return nil
		case ok:
			return &Error{ExitCode(state.Code), errors.New(state.Cause)}
		}
		if backoff.Sleep(ctx, waitTick) {
			continue
		}
		if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
			return cause
		}
		if err == nil {
			err = fmt.Errorf("no session within %s; the log of this pod's container gatepass-agent says why", c.Timeout)
		}
		return &Error{ExitNotReady, err}
	}
}
