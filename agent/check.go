package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gatepass/gatepass/agent/login"
)

// checks is how the questions went whether the session is still good.
type checks struct {
	// useless is how many in a row led to nothing: the server can't answer them, or
	// says of each new session that it has ended.
	useless int
	// asked is the wait that the server asked for; 0 if it did not.
	asked time.Duration
	// failing is set once a failure has been logged.
	failing bool
}

// untilCheck draws how long to wait before the next check: the interval, a fifth
// less or more, so that pods that started together don't ask together. A check
// that leads to nothing is repeated more and more seldom.
func (k *keeper) untilCheck() time.Duration {
	interval := k.config.CheckInterval
	if interval <= 0 || k.current.Counted {
		return never // a check would take a use from the application
	}
	for range k.checks.useless - 1 { // the first may be by chance
		if interval >= maxCheck {
			break
		}
		interval = min(2*interval, maxCheck)
	}
	interval = interval*4/5 + rand.N(interval*2/5) //nolint:gosec // G404: spreads load, keeps no secret
	return max(interval, min(k.checks.asked, maxAsked))
}

// revoked asks the server whether it has ended the session before its time. A
// failure to learn that is no revocation: the session stays.
func (k *keeper) revoked(ctx context.Context) bool {
	reason, ended, err := k.login.Ended(ctx, k.current)
	k.checks.asked = 0
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		k.unchecked(err)
		return false
	case !ended:
		k.checks = checks{}
		return false
	}
	k.checks = checks{useless: k.checks.useless + 1}
	k.current.Revoked = k.wall().UTC().Truncate(time.Second)
	k.meters.revoked.Add(1)
	k.log.Warn("the server has ended the session; logging in again", keyCause, reason, keyExpiry, k.current.Expiry)
	// The token stays: an application that finds no file fails otherwise than one
	// whose session is refused, and there is a new token soon.
	if err := k.files.Describe(k.current); err != nil {
		k.log.Warn("the description of the session does not say that it was revoked", keyCause, err.Error())
	}
	return true
}

// unchecked notes a check that failed. What time heals is no news: should it last,
// the next refresh tells.
func (k *keeper) unchecked(err error) {
	advice := advise(err)
	k.checks.asked = advice.Wait
	if !advice.Final {
		k.log.Debug("the session can't be checked; it stays", keyCause, err.Error())
		return
	}
	k.checks.useless++
	if k.checks.failing {
		return
	}
	k.checks.failing = true
	hint := ""
	if failed, ok := errors.AsType[*login.Error](err); ok && (failed.Kind == login.Foreign || failed.Kind == login.Denied) {
		hint = "; if the server knows no such command, set GATEPASS_CHECK_INTERVAL to 0"
	}
	k.log.Warn("the session can't be checked; it stays", keyCause, err.Error()+hint)
}
