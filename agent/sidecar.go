package agent

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatepass/gatepass/agent/backoff"
	"github.com/gatepass/gatepass/agent/marker"
)

// The times of a sidecar.
const (
	// unknownLife stands for the life of a gateway's session that does not say
	// when it ends. It is our gateway's default.
	unknownLife = 15 * time.Minute
	// minDue keeps sessions of no length from becoming a flood of logins.
	minDue = time.Second
	// tick is how often a wait looks at the wall clock. The clock that timers
	// run by stands still while a node is suspended; sessions end all the same.
	tick = 30 * time.Second
	// never is longer than a pod lives.
	never = 10 * 365 * 24 * time.Hour
	// maxCheck bounds the time between checks that are of no use.
	maxCheck = 5 * time.Minute
	// maxAsked bounds the wait that a server may ask of a sidecar.
	maxAsked = 5 * time.Minute
	// revokeTime bounds the revocation at the end. The kubelet kills after
	// terminationGracePeriodSeconds, 30 s by default, the application's own
	// time included.
	revokeTime = 3 * time.Second
	// hookPause is how long a failed agent stays, for the postStart hook to
	// learn why: the hook ends with the agent's container.
	hookPause = 20 * waitTick
)

// schedule says how far apart the tries are. They go on for ever: the
// application has its last session, and whoever mends the gateway shall not
// have to restart pods.
func schedule(denied bool) backoff.Schedule {
	if denied {
		return backoff.Schedule{First: 5 * time.Second, Cap: 5 * time.Minute}
	}
	return backoff.Schedule{First: time.Second, Cap: time.Minute}
}

// runSidecar logs in within the timeout, tells the hook, and keeps the session
// fresh until ctx ends.
func (a *Agent) runSidecar(ctx context.Context) error {
	defer a.serveMetrics(ctx)()
	k := &keeper{Agent: a}
	k.look()
	s, err := a.begin(ctx)
	if err != nil {
		return a.tellHook(ctx, err)
	}
	held, err := marker.Set(a.dir(), marker.State{})
	if err != nil {
		return &Error{ExitSession, err}
	}
	defer func() { _ = held.Close() }()
	k.accept(s)
	k.run(ctx)
	return nil
}

// tellHook passes the cause on to the postStart hook, and returns it.
func (a *Agent) tellHook(ctx context.Context, err error) error {
	cause := strings.TrimPrefix(Message(err), messagePrefix) // on one line, and bounded
	held, merr := marker.Set(a.dir(), marker.State{Code: int(Code(err)), Cause: cause})
	if merr != nil {
		a.log.Warn("the postStart hook does not learn the cause", keyCause, merr.Error())
		return err
	}
	defer func() { _ = held.Close() }()
	backoff.Sleep(ctx, hookPause)
	return err
}

// dir is the session's directory.
func (a *Agent) dir() string { return filepath.Dir(a.config.TokenFile) }

// countdown returns what tells how much of d is left, by the clock that timers run
// by or by the wall clock, whichever is first.
func (a *Agent) countdown(d time.Duration) (left func() time.Duration) {
	begin, until := time.Now(), a.wall().Add(d)
	return func() time.Duration { return min(d-time.Since(begin), until.Sub(a.wall())) }
}

// await waits for d, by the clock that countdown goes by, or until early, which is asked once a tick, says so;
// false if ctx ended.
func (a *Agent) await(ctx context.Context, d time.Duration, early func() bool) bool {
	remaining := a.countdown(d)
	for {
		left := remaining()
		if left <= 0 {
			return ctx.Err() == nil
		}
		// Only then early is asked: a file that changes all the time must not
		// become a flood of logins.
		if !backoff.Sleep(ctx, min(left, tick)) {
			return false
		}
		if early != nil && early() {
			return ctx.Err() == nil
		}
	}
}
