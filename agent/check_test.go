package agent

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/login"
	"github.com/gatepass/gatepass/agent/session"
)

// endsAll has the server end every session that is older than it is for.
func (r *rig) endsAll(after time.Duration) {
	begin := time.Now()
	r.ended = func(s session.Session) (string, bool, error) {
		return "the session was revoked", s.Issued.Before(begin.Add(after)) && time.Since(begin) >= after, nil
	}
}

// described is session.json.
func (r *rig) described(t *testing.T) (s session.Session) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.agent.dir(), config.SessionFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *rig) metrics() string {
	var text bytes.Buffer
	r.agent.meters.write(&text)
	return text.String()
}

func TestARevokedSessionIsReplacedWithinAMinute(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{time.Second, 44 * time.Second, 3 * time.Minute, 5*time.Minute + 31*time.Second} {
		t.Run("revoked after "+after.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(r *rig) { r.endsAll(after) }, func(t *testing.T, r *rig) {
				t.Helper()
				pass(after + time.Minute)
				if n := r.count(); n != 2 {
					t.Fatalf("%d logins a minute after", n)
				}
				if got := r.token(t); got != "session-token-2" {
					t.Errorf("the file holds %q", got)
				}
				if got := r.described(t); !got.Revoked.IsZero() {
					t.Errorf("session.json says of the new session %+v", got)
				}
				if r.said(`"msg":"the server has ended the session; logging in again","cause":"the session was revoked","expiry":`) != 1 || r.said("a new session replaces the revoked one") != 1 {
					t.Errorf("the log is\n%s", r.log.String())
				}
				if got := r.metrics(); !strings.Contains(got, "gatepass_agent_revoked_sessions_total 1\n") || !strings.Contains(got, "gatepass_agent_refresh_failures_total 0\n") {
					t.Errorf("metrics are\n%s", got)
				}
			})
		})
	}
	t.Run("one that could be renewed is not", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			r.agent.config.Protocol = config.ProtocolVault
			r.grant = func(n int) (session.Session, error) {
				s := r.fresh(n)
				s.Renewable = true
				return s, nil
			}
			r.endsAll(time.Minute)
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(2 * time.Minute)
			if n := r.count(); n != 2 || len(r.at(&r.renews)) != 0 {
				t.Errorf("%d logins, %d renewals", n, len(r.at(&r.renews)))
			}
		})
	})
	t.Run("a lease without an end, too", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			r.agent.config.Protocol = config.ProtocolVault
			r.grant = func(n int) (session.Session, error) {
				return session.Session{Token: "session-token-" + strconv.Itoa(n), Issued: time.Now()}, nil
			}
			r.endsAll(time.Hour)
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(time.Hour + time.Minute)
			if n := r.count(); n != 2 {
				t.Errorf("%d logins", n)
			}
		})
	})
}

func TestARevokedSessionStaysUntilALoginSucceeds(t *testing.T) {
	t.Parallel()
	bubble(t, func(r *rig) {
		r.agent.config.RevokeOnExit = true
		r.broken(time.Minute, 5*time.Hour, failing(login.Denied, 0))
		r.endsAll(time.Minute)
	}, func(t *testing.T, r *rig) {
		t.Helper()
		pass(time.Hour)
		if got := r.token(t); got != "session-token-1" {
			t.Errorf("the file holds %q", got)
		}
		if got := r.described(t); got.Revoked.IsZero() || got.Gateway != "https://g" || got.Revoked.Sub(got.Issued) > 2*time.Minute {
			t.Errorf("session.json says %+v", got)
		}
		if n := r.count(); n < 10 || n > 60 {
			t.Errorf("%d logins in an hour", n)
		}
		if r.said(`"revoked":"`) == 0 || len(r.at(&r.checks)) > 2 {
			t.Errorf("%d checks; the log is\n%s", len(r.at(&r.checks)), r.log.String())
		}
		pass(4*time.Hour + 6*time.Minute)
		if got := r.described(t); r.token(t) == "session-token-1" || !got.Revoked.IsZero() {
			t.Errorf("the file holds %q, session.json says %+v", r.token(t), got)
		}
		if r.said("a new session replaces the revoked one") != 1 {
			t.Errorf("the log is\n%s", r.log.String())
		}
	})
}

func TestARevokedSessionIsNotRevokedAgain(t *testing.T) {
	t.Parallel()
	var r *rig
	bubble(t, func(got *rig) {
		r = got
		r.agent.config.RevokeOnExit = true
		r.endsAll(time.Minute)
	}, func(t *testing.T, _ *rig) {
		t.Helper()
		pass(3 * time.Minute)
	})
	if got := strings.Join(r.revoked, " "); got != "session-token-2" {
		t.Errorf("revoked %s", got)
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	t.Run("are spread around the interval", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) { r.life = 48 * time.Hour }, func(t *testing.T, r *rig) {
			t.Helper()
			pass(24 * time.Hour)
			checks := r.at(&r.checks)
			if n := len(checks); n < 1800 || n > 2040 || r.count() != 1 {
				t.Fatalf("%d checks, %d logins in a day", n, r.count())
			}
			spread := map[time.Duration]bool{}
			for i := 1; i < len(checks); i++ {
				gap := checks[i].Sub(checks[i-1])
				if spread[gap] = true; gap < 36*time.Second || gap > 54*time.Second {
					t.Fatalf("checked after %v", gap)
				}
			}
			if len(spread) < len(checks)/2 {
				t.Errorf("%d different gaps of %d", len(spread), len(checks))
			}
		})
	})
	for name, set := range map[string]func(*rig){
		"of an interval of 0": func(r *rig) { r.agent.config.CheckInterval = 0 },
		"of a session whose uses are counted": func(r *rig) {
			r.grant = func(n int) (session.Session, error) {
				s := r.fresh(n)
				s.Counted = true
				return s, nil
			}
		},
	} {
		t.Run(name+" are not made", func(t *testing.T) {
			t.Parallel()
			bubble(t, set, func(t *testing.T, r *rig) {
				t.Helper()
				pass(5 * time.Hour)
				if n := len(r.at(&r.checks)); n != 0 || r.count() < 25 {
					t.Errorf("%d checks, %d logins", n, r.count())
				}
			})
		})
	}
	// failing has every check fail, for five hours of a session of two days.
	failingFor := func(t *testing.T, err error, check func(*testing.T, *rig, int)) {
		t.Helper()
		bubble(t, func(r *rig) {
			r.life = 48 * time.Hour
			r.ended = func(session.Session) (string, bool, error) { return "", false, err }
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(5 * time.Hour)
			if got := r.token(t); got != "session-token-1" || r.count() != 1 || !r.described(t).Revoked.IsZero() {
				t.Errorf("the file holds %q after %d logins", got, r.count())
			}
			check(t, r, len(r.at(&r.checks)))
		})
	}
	t.Run("that get no answer are no revocation", func(t *testing.T) {
		t.Parallel()
		failingFor(t, failing(login.Unreachable, 0), func(t *testing.T, r *rig, n int) {
			t.Helper()
			if n < 330 || r.said("can't be checked") != 0 {
				t.Errorf("%d checks; the log is\n%s", n, r.log.String())
			}
		})
	})
	t.Run("wait as long as the server asks", func(t *testing.T) {
		t.Parallel()
		failingFor(t, failing(login.Failing, 2*time.Minute), func(t *testing.T, _ *rig, n int) {
			t.Helper()
			if n < 145 || n > 155 {
				t.Errorf("%d checks", n)
			}
		})
	})
	t.Run("that the server does not know are said once, and made seldom", func(t *testing.T) {
		t.Parallel()
		failingFor(t, failing(login.Foreign, 0), func(t *testing.T, r *rig, n int) {
			t.Helper()
			if n < 50 || n > 80 || r.said("can't be checked") != 1 || r.said("; if the server knows no such command, set GATEPASS_CHECK_INTERVAL to 0") != 1 {
				t.Errorf("%d checks; the log is\n%s", n, r.log.String())
			}
		})
	})
	t.Run("by which no session is good are no flood of logins", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			r.life = 48 * time.Hour
			r.ended = func(session.Session) (string, bool, error) { return "another gateway's", true, nil }
		}, func(t *testing.T, r *rig) {
			t.Helper()
			pass(5 * time.Hour)
			if n := r.count(); n < 50 || n > 80 {
				t.Errorf("%d logins in five hours", n)
			}
		})
	})
}

// The gateway's clock says when a session ends; only how long it lives counts.
func TestClocksThatDisagree(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"ahead": 8 * time.Hour, "behind": -8 * time.Hour} {
		t.Run("a gateway whose clock is "+name, func(t *testing.T) {
			t.Parallel()
			var r *rig
			bubble(t, func(got *rig) {
				r = got
				r.agent.config.RevokeOnExit = true
				r.broken(3*time.Minute, 14*time.Minute, failing(login.Unreachable, 0))
				grant := r.grant
				r.grant = func(n int) (session.Session, error) {
					s, err := grant(n)
					s.Issued, s.Expiry = s.Issued.Add(off), s.Expiry.Add(off)
					return s, err
				}
			}, func(t *testing.T, r *rig) {
				t.Helper()
				pass(14*time.Minute + 59*time.Second)
				if got := r.said("the session has expired, and there is no new one"); got != 0 {
					t.Errorf("it is said to have expired:\n%s", r.log.String())
				}
				pass(2 * time.Minute)
				if got := r.token(t); got == "session-token-1" {
					t.Error("there is no new session")
				}
				n := r.count()
				pass(6 * time.Minute)
				if r.count() != n {
					t.Errorf("%d logins, then %d", n, r.count())
				}
			})
			if len(r.revoked) != 1 { // the first one has ended
				t.Errorf("revoked %q", r.revoked)
			}
		})
	}
}
