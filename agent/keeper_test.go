package agent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/login"
	"github.com/gatepass/gatepass/agent/session"
)

func TestRefresh(t *testing.T) {
	t.Parallel()
	t.Run("a session is refreshed at two thirds of its life, for days", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(*rig) {}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(72 * time.Hour)
			n, logins := r.count(), r.at(&r.logins)
			var sum time.Duration
			spread := map[time.Duration]bool{}
			for i := 1; i < n; i++ {
				gap := logins[i].Sub(logins[i-1])
				if gap < 9*time.Minute || gap > 11*time.Minute {
					t.Fatalf("refreshed after %v", gap)
				}
				sum += gap
				spread[gap] = true
			}
			if mean := sum / time.Duration(n-1); mean < 590*time.Second || mean > 610*time.Second || len(spread) < n/2 {
				t.Errorf("mean %v, %d different gaps of %d", mean, len(spread), n)
			}
			if got, want := r.token(t), "session-token-"+strconv.Itoa(n); got != want {
				t.Errorf("the file holds %q, want %q", got, want)
			}
			if lines := strings.Count(r.log.String(), "\n"); lines != 1 {
				t.Errorf("%d lines in the log where nothing happened:\n%s", lines, r.log.String())
			}
		})
	})
	t.Run("a gateway that does not say when sessions end is asked every ten minutes", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			r.grant = func(n int) (session.Session, error) {
				return session.Session{Token: "session-token-" + strconv.Itoa(n)}, nil
			}
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(24 * time.Hour)
			if n := r.count(); n < 130 || n > 160 {
				t.Errorf("%d logins in a day", n)
			}
		})
	})
	t.Run("a lease of Vault's without an end is left alone", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			r.agent.config.Protocol = config.ProtocolVault
			r.grant = func(int) (session.Session, error) { return session.Session{Token: "session-token"}, nil }
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(48 * time.Hour)
			if n := r.count(); n != 1 {
				t.Errorf("%d logins", n)
			}
		})
	})
	for name, life := range map[string]time.Duration{"that ended before they began": -time.Hour, "of no length": 0, "of a nanosecond": 1} {
		t.Run("sessions "+name+" are no flood of logins", func(t *testing.T) {
			t.Parallel()
			bubble(t, func(r *rig) { r.life = life }, func(t *testing.T, r *rig) {
				t.Helper()
				pass(time.Minute)
				if n := r.count(); n > 61 {
					t.Errorf("%d logins in a minute", n)
				}
			})
		})
	}
}

func TestMetricsThatCannotBeServedAreNoReasonToStop(t *testing.T) {
	t.Parallel()
	bubble(t, func(r *rig) { r.agent.config.MetricsAddress = "192.0.2.1:1" }, func(t *testing.T, r *rig) { // RFC 5737: nobody's
		t.Helper()
		pass(time.Minute)
		if got := r.token(t); got != "session-token-1" || r.said("GATEPASS_METRICS_ADDRESS: ") != 1 {
			t.Errorf("the file holds %q, the log is\n%s", got, r.log.String())
		}
	})
}

func TestWallClock(t *testing.T) {
	t.Parallel()
	t.Run("a node that wakes from a long sleep refreshes at once", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(*rig) {}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(2 * time.Minute)
			r.offset.Store(int64(8 * time.Hour)) // timers did not run in between
			pass(tick + time.Second)
			if n := r.count(); n != 2 {
				t.Errorf("%d logins", n)
			}
			pass(8 * time.Minute) // and then goes on as before
			if n := r.count(); n != 2 {
				t.Errorf("%d logins soon after", n)
			}
		})
	})
	t.Run("a clock that is set back delays nothing", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(*rig) {}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(time.Minute)
			r.offset.Store(int64(-48 * time.Hour))
			pass(10*time.Minute + time.Second)
			if n := r.count(); n != 2 {
				t.Errorf("%d logins", n)
			}
		})
	})
}

func failing(kind login.Kind, wait time.Duration) error {
	return &login.Error{Kind: kind, Reason: "the cause of kind " + strconv.Itoa(int(kind)), RetryAfter: wait}
}

// broken makes the server fail for a while of the test's time.
func (r *rig) broken(from, until time.Duration, err error) {
	begin := time.Now()
	r.grant = func(n int) (session.Session, error) {
		if at := time.Since(begin); at >= from && at < until {
			return session.Session{}, err
		}
		return r.fresh(n), nil
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	t.Run("one longer than a session is survived, said once, and ends by itself", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) { r.broken(time.Minute, 5*time.Hour, failing(login.Unreachable, 0)) }, func(t *testing.T, r *rig) {
			t.Helper()
			pass(5*time.Hour - time.Second)
			if got := r.token(t); got != "session-token-1" {
				t.Errorf("the last session is gone: %q", got)
			}
			n := r.count()
			if n < 300 || n > 1500 {
				t.Errorf("%d tries in five hours", n)
			}
			if r.said("can't be refreshed; the last one stays") != 1 || r.said("has expired") != 1 || strings.Count(r.log.String(), "\n") != 3 {
				t.Errorf("the log is\n%s", r.log.String())
			}
			var text bytes.Buffer
			r.agent.meters.write(&text)
			if !strings.Contains(text.String(), "gatepass_agent_refresh_failing 1\n") || !strings.Contains(text.String(), "gatepass_agent_refreshes_total 1\n") ||
				!strings.Contains(text.String(), "gatepass_agent_refresh_failures_total "+strconv.Itoa(n-1)+"\n") {
				t.Errorf("metrics are\n%s", text.String())
			}
			pass(time.Minute + 2*time.Second)
			if got := r.token(t); got == "session-token-1" {
				t.Error("it did not recover within a minute")
			}
			if r.said("refreshed again") != 1 || r.said(`"took":"4h49m`)+r.said(`"took":"4h5`) != 1 {
				t.Errorf("the log is\n%s", r.log.String())
			}
			text.Reset()
			r.agent.meters.write(&text)
			if !strings.Contains(text.String(), "gatepass_agent_refresh_failing 0\n") || !strings.Contains(text.String(), "gatepass_agent_refreshes_total 2\n") {
				t.Errorf("metrics are\n%s", text.String())
			}
		})
	})
	t.Run("a denial is tried more seldom, and another cause is said", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			r.broken(time.Minute, 5*time.Hour, failing(login.Denied, 0))
			deny := r.grant
			r.grant = func(n int) (session.Session, error) {
				if n == 5 {
					return session.Session{}, failing(login.Untrusted, 0)
				}
				return deny(n)
			}
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(4 * time.Hour)
			if n := r.count(); n < 60 || n > 250 {
				t.Errorf("%d tries in four hours", n)
			}
			if got := r.said("for another reason"); got != 2 {
				t.Errorf("%d changes in the log:\n%s", got, r.log.String())
			}
		})
	})
	t.Run("the wait that a server asks for is kept, up to five minutes", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) { r.broken(time.Minute, 5*time.Hour, failing(login.Failing, 24*time.Hour)) }, func(t *testing.T, r *rig) {
			t.Helper()
			pass(4 * time.Hour)
			logins := r.at(&r.logins)
			for i := 2; i < len(logins); i++ {
				if gap := logins[i].Sub(logins[i-1]); gap < maxAsked || gap > maxAsked+schedule(false).Cap {
					t.Fatalf("tried again after %v", gap)
				}
			}
			if r.count() < 30 {
				t.Errorf("%d tries", r.count())
			}
		})
	})
	t.Run("a rotated identity is tried at the next tick", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) { r.broken(time.Minute, 3*time.Hour, failing(login.Denied, 5*time.Minute)) }, func(t *testing.T, r *rig) {
			t.Helper()
			pass(2 * time.Hour)
			for range 20 {
				before := r.count()
				r.rotate(t)
				pass(tick + time.Second)
				if r.count() == before {
					t.Fatal("it was not tried")
				}
			}
		})
	})
	t.Run("a session that can't be written is an outage as well", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(*rig) {}, func(t *testing.T, r *rig) {
			t.Helper()
			token := r.agent.config.TokenFile
			block := func() error { return errors.Join(os.Remove(token), os.MkdirAll(token+"/x", 0o700)) }
			if err := block(); err != nil {
				t.Fatal(err)
			}
			pass(time.Hour)
			if r.said("can't be refreshed") != 1 {
				t.Errorf("the log is\n%s", r.log.String())
			}
			if err := os.RemoveAll(token); err != nil {
				t.Fatal(err)
			}
			pass(2 * time.Minute)
			if got := r.token(t); got != "session-token-"+strconv.Itoa(r.count()) {
				t.Errorf("the file holds %q after %d logins", got, r.count())
			}
		})
	})
}

// rotate replaces the identity, as the kubelet does before it expires.
func (r *rig) rotate(t *testing.T) {
	t.Helper()
	path := r.agent.config.IdentityFile
	if err := errors.Join(os.WriteFile(path+".new", []byte("a.b.c"), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	t.Run("a session is refreshed at the next tick after each", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) { r.life = 12 * time.Hour }, func(t *testing.T, r *rig) {
			t.Helper()
			for n := range 4 {
				pass(8 * time.Minute)
				if got := r.count(); got != n+1 {
					t.Fatalf("%d logins after %d rotations", got, n)
				}
				r.rotate(t)
				pass(tick + time.Second)
				if got := r.count(); got != n+2 {
					t.Fatalf("%d logins after %d rotations", got, n+1)
				}
			}
		})
	})
	t.Run("a session that can be renewed is left alone", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			r.grant = func(n int) (session.Session, error) {
				s := r.fresh(n)
				s.Renewable = true
				return s, nil
			}
		}, func(t *testing.T, r *rig) {
			t.Helper()
			r.rotate(t)
			pass(8 * time.Minute)
			if n := r.count() + len(r.at(&r.renews)); n != 1 {
				t.Errorf("%d logins and renewals", n)
			}
		})
	})
	for name, set := range map[string]func(*rig){
		"while all is well":   func(*rig) {},
		"while no login does": func(r *rig) { r.broken(time.Minute, time.Hour, failing(login.Denied, 0)) },
	} {
		t.Run("one that never ends is no flood of logins, "+name, func(t *testing.T) {
			t.Parallel()
			bubble(t, set, func(t *testing.T, r *rig) {
				t.Helper()
				for range 20 * 60 {
					r.rotate(t)
					pass(time.Second)
				}
				if n := r.count(); n > 60 {
					t.Errorf("%d logins in 20 minutes", n)
				}
			})
		})
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	vault := func(r *rig) {
		r.life = time.Hour
		r.agent.config.Protocol = config.ProtocolVault
		r.grant = func(n int) (session.Session, error) {
			s := r.fresh(n)
			s.Renewable = true
			return s, nil
		}
	}
	renewed := func(life time.Duration) session.Session {
		now := time.Now().UTC()
		return session.Session{Issued: now, Expiry: now.Add(life), Renewable: true}
	}
	t.Run("a session is renewed until the server grants less, and then there is a new one", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			vault(r)
			r.renew = func(int) (session.Session, error) {
				// A longest life of 4 hours since the login.
				left := 4*time.Hour - time.Since(r.logins[len(r.logins)-1])
				return renewed(min(left, time.Hour)), nil
			}
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(100 * time.Hour)
			if n := r.count(); n < 26 || n > 34 {
				t.Errorf("%d logins in 100 hours", n)
			}
			if n := len(r.at(&r.renews)); n < 110 || n > 190 {
				t.Errorf("%d renewals in 100 hours", n)
			}
			if got := r.token(t); got != "session-token-"+strconv.Itoa(r.count()) {
				t.Errorf("the file holds %q after %d logins", got, r.count())
			}
		})
	})
	t.Run("a revoked session is replaced by a login at once", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			vault(r)
			r.renew = func(int) (session.Session, error) { return session.Session{}, failing(login.Denied, 0) }
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(45 * time.Minute)
			if logins, renews := r.at(&r.logins), r.at(&r.renews); len(logins) != 2 || len(renews) != 1 || !logins[1].Equal(renews[0]) {
				t.Errorf("logins %v, renewals %v", logins, renews)
			}
		})
	})
	t.Run("a failing server is asked to renew while there is something to renew, then for a login", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			vault(r)
			r.renew = func(int) (session.Session, error) { return session.Session{}, failing(login.Failing, 0) }
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(59 * time.Minute)
			if n := len(r.at(&r.renews)); r.count() != 1 || n < 5 {
				t.Errorf("%d logins, %d renewals", r.count(), n)
			}
			pass(3 * time.Minute)
			if r.count() != 2 {
				t.Errorf("%d logins after the end", r.count())
			}
		})
	})
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, set func(*rig), stay time.Duration) (r *rig, took time.Duration) {
		t.Helper()
		var stopped time.Time
		bubble(t, func(got *rig) { r = got; set(r) }, func(t *testing.T, _ *rig) {
			t.Helper()
			pass(stay)
			stopped = time.Now()
			t.Cleanup(func() { took = time.Since(stopped) })
		})
		return r, took
	}
	t.Run("nothing is revoked that nobody asked for", func(t *testing.T) {
		t.Parallel()
		if r, _ := run(t, func(*rig) {}, time.Hour); len(r.revoked) != 0 {
			t.Errorf("%q", r.revoked)
		}
	})
	t.Run("the session and a predecessor that is still valid are revoked", func(t *testing.T) {
		t.Parallel()
		r, _ := run(t, func(r *rig) { r.agent.config.RevokeOnExit = true }, 11*time.Minute+time.Second)
		if got := strings.Join(r.revoked, " "); got != "session-token-2 session-token-1" {
			t.Errorf("revoked %s", got)
		}
	})
	t.Run("an expired predecessor is left alone", func(t *testing.T) {
		t.Parallel()
		r, _ := run(t, func(r *rig) { r.agent.config.RevokeOnExit = true }, 16*time.Minute)
		if got := strings.Join(r.revoked, " "); got != "session-token-2" {
			t.Errorf("revoked %s", got)
		}
	})
	t.Run("a gateway that hangs delays the end by three seconds at most", func(t *testing.T) {
		t.Parallel()
		r, took := run(t, func(r *rig) {
			r.agent.config.RevokeOnExit = true
			r.revoke = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}, time.Minute)
		if r.said("could not be revoked") != 1 || took != revokeTime {
			t.Errorf("it took %v:\n%s", took, r.log.String())
		}
	})
}
