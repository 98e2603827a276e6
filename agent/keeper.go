package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/login"
	"github.com/gatepass/gatepass/agent/session"
)

// keeper keeps one session fresh. It is used by one goroutine.
type keeper struct {
	*Agent
	current session.Session
	// previous is the session before: applications may use it until it ends.
	previous session.Session
	// ends and previousEnds are when these end, see endOf.
	ends, previousEnds time.Time
	// life is what current lived for when it was new.
	life time.Duration
	// identity is the projected token's file as the last try found it.
	identity os.FileInfo
	outage   outage
	checks   checks
}

// outage is a spell of failures.
type outage struct {
	tries int
	// since is when the first of them was, by the wall clock.
	since time.Time
	// code is the kind of failure that was logged last.
	code ExitCode
	// expired is set once the end of the session has been logged.
	expired bool
}

func (k *keeper) run(ctx context.Context) {
	for k.awaitDue(ctx) && k.refresh(ctx) {
	}
	k.end(ctx)
}

// look remembers which projected token a try begins with. If there is none,
// reading it will tell.
func (k *keeper) look() { k.identity, _ = os.Stat(k.config.IdentityFile) }

// awaitDue waits until there should be a new session: at the time for it, when the
// identity was replaced, or when the server has ended the session. It returns
// false if ctx ended.
func (k *keeper) awaitDue(ctx context.Context) bool {
	rotated := k.rotated
	if k.current.Renewable {
		rotated = func() bool { return false } // a renewal shows no identity
	}
	due, check := k.countdown(k.due()), k.countdown(k.untilCheck())
	for k.await(ctx, min(due(), check()), rotated) {
		if due() <= 0 || rotated() {
			return true
		}
		if check() > 0 {
			continue
		}
		if k.revoked(ctx) {
			return ctx.Err() == nil
		}
		check = k.countdown(k.untilCheck())
	}
	return false
}

// due returns how long the session is kept if nothing happens.
func (k *keeper) due() time.Duration {
	due := lifeOf(k.current)
	if due <= 0 {
		if k.config.Protocol == config.ProtocolVault && k.current.Expiry.IsZero() {
			return never // a lease of zero has no end, and each login would leave another
		}
		due = unknownLife
	}
	// Two thirds, on average: 60 to 73 %, so that pods that started together
	// do not stay together.
	due = due*3/5 + rand.N(max(due*2/15, 1)) //nolint:gosec // G404: spreads load, keeps no secret
	return max(due, minDue)
}

// lifeOf returns for how long s lives, by the clock of who issued it.
func lifeOf(s session.Session) time.Duration {
	if s.Expiry.IsZero() {
		return 0
	}
	return s.Expiry.Sub(s.Issued)
}

// refresh gets a new session, however long that takes; false if ctx ended.
// The files of the last one stay as they are until then.
func (k *keeper) refresh(ctx context.Context) bool {
	for {
		k.look()
		s, err := k.next(ctx)
		if err == nil {
			if err = k.files.Write(s); err == nil {
				k.accept(s)
				return ctx.Err() == nil
			}
			err = &Error{ExitSession, err}
		}
		if ctx.Err() != nil {
			return false
		}
		k.failed(err)
		wait := min(advise(err).Wait, maxAsked) + schedule(Code(err) == ExitDenied).Draw(k.outage.tries, nil)
		if !k.await(ctx, wait, k.worthTrying) {
			return false
		}
	}
}

// rotated reports whether the kubelet has replaced the identity since the last
// try. A session that rests on the one before is refreshed: should there be
// something wrong with the new one, it shows while the session is still good.
func (k *keeper) rotated() bool {
	info, err := os.Stat(k.config.IdentityFile)
	if err != nil {
		return false
	}
	return k.identity == nil || !os.SameFile(info, k.identity) || !info.ModTime().Equal(k.identity.ModTime())
}

// worthTrying reports whether what was wrong with the identity may be mended.
func (k *keeper) worthTrying() bool {
	k.sayExpired()
	return k.rotated()
}

// next renews the session, or logs in for another one.
func (k *keeper) next(ctx context.Context) (session.Session, error) {
	if !k.current.Renewable || !k.current.Revoked.IsZero() || k.ended() {
		return k.try(ctx)
	}
	s, err := k.login.Renew(ctx, k.current)
	if err == nil {
		if lifeOf(s) >= k.life*2/3 {
			return s, nil
		}
		// The server no longer grants the full time: the session comes near
		// the longest life that it may have.
		k.current.Issued, k.current.Expiry, k.ends = s.Issued, s.Expiry, k.endOf(s)
		return k.try(ctx)
	}
	if refused, ok := errors.AsType[*login.Error](err); ok && refused.Kind == login.Denied {
		k.log.Info("the session can't be renewed; logging in again", keyCause, err.Error())
		return k.try(ctx)
	}
	return session.Session{}, &Error{exitCode(err), err}
}

// take makes s the current session, as of now.
func (k *keeper) take(s session.Session) {
	k.current, k.ends = s, k.endOf(s)
}

// endOf returns when a session that has just come ends by the clock of this node,
// which need not be the gateway's; zero if that is not known.
func (k *keeper) endOf(s session.Session) time.Time {
	if s.Expiry.IsZero() {
		return time.Time{}
	}
	return k.wall().Add(lifeOf(s))
}

// past reports whether a time of endOf's is over.
func (k *keeper) past(end time.Time) bool { return !end.IsZero() && !k.wall().Before(end) }

// ended reports whether the session's time is over.
func (k *keeper) ended() bool { return k.past(k.ends) }

// accept takes a session that has been written.
func (k *keeper) accept(s session.Session) {
	replaced := k.current
	if s.Token != k.current.Token {
		k.previous, k.previousEnds, k.life = k.current, k.ends, lifeOf(s)
	}
	k.take(s)
	k.meters.accepted(k.wall(), s)
	switch {
	case !replaced.Revoked.IsZero():
		k.log.Info("a new session replaces the revoked one", keyTook, k.wall().Sub(replaced.Revoked).String(), keyTry, k.outage.tries+1, keyExpiry, s.Expiry)
	case k.outage.tries > 0:
		k.log.Info("the session is refreshed again", keyTook, k.wall().Sub(k.outage.since).String(), keyTry, k.outage.tries+1, keyExpiry, s.Expiry)
	case k.previous.Token != "":
		k.log.Debug("session refreshed", keyExpiry, s.Expiry)
	}
	k.outage = outage{}
	// What a TLS handshake took is not needed until the next one.
	k.login.Close()
	debug.FreeOSMemory()
}

// failed says what has changed for the worse, and counts.
func (k *keeper) failed(err error) {
	k.meters.failed()
	code := Code(err)
	k.outage.tries++
	attrs := []any{keyCause, err.Error(), keyExpiry, k.current.Expiry}
	if !k.current.Revoked.IsZero() {
		attrs = append(attrs, keyRevoked, k.current.Revoked)
	}
	switch {
	case k.outage.tries == 1:
		k.outage.since = k.wall()
		k.log.Warn("the session can't be refreshed; the last one stays, and it is tried on and on", attrs...)
	case code != k.outage.code:
		k.log.Warn("the session still can't be refreshed, for another reason", attrs...)
	default:
		k.log.Debug("the session still can't be refreshed", append(attrs, keyTry, k.outage.tries)...)
	}
	k.outage.code = code
	k.sayExpired()
}

func (k *keeper) sayExpired() {
	if !k.outage.expired && k.ended() {
		k.outage.expired = true
		k.log.Error("the session has expired, and there is no new one yet", keyExpiry, k.current.Expiry)
	}
}

// end revokes what is still valid, if that is wanted.
func (k *keeper) end(ctx context.Context) {
	k.log.Info("agent stops")
	if !k.config.RevokeOnExit {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
	defer cancel()
	for i, s := range []session.Session{k.current, k.previous} {
		if s.Token == "" || !s.Revoked.IsZero() || k.past([]time.Time{k.ends, k.previousEnds}[i]) {
			continue
		}
		if err := k.login.Revoke(ctx, s); err != nil {
			k.log.Warn("a session could not be revoked; it ends by itself", keyCause, err.Error(), keyExpiry, s.Expiry)
			continue
		}
		k.log.Info("session revoked", keyExpiry, s.Expiry)
	}
}
