package agent

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/login"
	"github.com/gatepass/gatepass/agent/session"
)

func TestWait(t *testing.T) {
	t.Parallel()
	sidecar := func(t *testing.T) config.Config {
		t.Helper()
		p := newPod(t, "https://gateway.example", "")
		p.config.Mode = config.ModeSidecar
		return p.config
	}
	t.Run("it returns as soon as there is a session", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(r *rig) {
			begin := time.Now()
			r.grant = func(n int) (session.Session, error) {
				if time.Since(begin) < 3*time.Second {
					return session.Session{}, failing(login.Failing, 0)
				}
				return r.fresh(n), nil
			}
		}, func(t *testing.T, r *rig) {
			t.Helper()
			if err := Wait(t.Context(), r.agent.config); err != nil {
				t.Fatal(err)
			}
			logins := r.at(&r.logins)
			if late := time.Since(logins[len(logins)-1]); late < 0 || late > 2*waitTick {
				t.Errorf("it noticed after %v", late)
			}
		})
	})
	t.Run("it passes on why there is none, while the agent is there", func(t *testing.T) {
		t.Parallel()
		c := sidecar(t)
		synctest.Test(t, func(t *testing.T) {
			a, err := New(Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			a.login = &rig{grant: func(int) (session.Session, error) { return session.Session{}, failing(login.Denied, 0) }}
			ended := make(chan error, 1)
			go func() { ended <- a.Run(t.Context()) }()
			err = Wait(t.Context(), c)
			if Code(err) != ExitDenied || Message(err) != "gatepass-agent: the cause of kind 3" {
				t.Errorf("%d, %v", Code(err), err)
			}
			select {
			case err := <-ended:
				t.Errorf("the agent was gone already: %v", err)
			default:
			}
			if err := <-ended; Code(err) != ExitDenied {
				t.Errorf("the agent ended with %v", err)
			}
		})
	})
	t.Run("what an earlier agent left behind is no session", func(t *testing.T) {
		t.Parallel()
		var c config.Config
		bubble(t, func(r *rig) { c = r.agent.config }, func(*testing.T, *rig) {})
		c.Timeout = time.Second
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			err := Wait(t.Context(), c)
			if Code(err) != ExitNotReady || !strings.Contains(err.Error(), "gatepass-agent says why") || time.Since(begin) != c.Timeout+waitGrace {
				t.Errorf("%d, %v after %v", Code(err), err, time.Since(begin))
			}
		})
	})
	t.Run("a signal ends it", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(SignalError{15})
		if err := Wait(ctx, sidecar(t)); Code(err) != 143 {
			t.Errorf("%d, %v", Code(err), err)
		}
	})
	t.Run("mode init has nothing to wait for", func(t *testing.T) {
		t.Parallel()
		c := sidecar(t)
		c.Mode = config.ModeInit
		if err := Wait(t.Context(), c); Code(err) != ExitConfig || !strings.Contains(err.Error(), "GATEPASS_MODE") {
			t.Errorf("%d, %v", Code(err), err)
		}
	})
}
