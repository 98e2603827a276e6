package agent

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/session"
)

// rig is a sidecar in a bubble of fake time, with a server beside it that
// needs no network: a bubble's time stands still while something waits for one.
type rig struct {
	agent  *Agent
	log    syncBuffer
	offset atomic.Int64 // of the wall clock, in nanoseconds
	life   time.Duration

	mu      sync.Mutex
	logins  []time.Time
	renews  []time.Time
	checks  []time.Time
	revoked []string
	// grant and renew say what the server does; nil is success.
	grant, renew func(n int) (session.Session, error)
	revoke       func(ctx context.Context) error
	// ended is what the server says of a session; nil is that it is good.
	ended func(s session.Session) (string, bool, error)
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (r *rig) fresh(n int) session.Session {
	now := time.Now().UTC()
	return session.Session{Token: "session-token-" + strconv.Itoa(n), Gateway: "https://g", Issued: now, Expiry: now.Add(r.life)}
}

func (r *rig) Login(context.Context, string) (session.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logins = append(r.logins, time.Now())
	if r.grant != nil {
		return r.grant(len(r.logins))
	}
	return r.fresh(len(r.logins)), nil
}

func (r *rig) Renew(_ context.Context, s session.Session) (session.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renews = append(r.renews, time.Now())
	got, err := r.renew(len(r.renews))
	got.Token = s.Token
	return got, err
}

func (r *rig) Revoke(ctx context.Context, s session.Session) error {
	if r.revoke != nil {
		return r.revoke(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revoked = append(r.revoked, s.Token)
	return nil
}

func (r *rig) Ended(_ context.Context, s session.Session) (string, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = append(r.checks, time.Now())
	if r.ended == nil {
		return "", false, nil
	}
	return r.ended(s)
}

func (r *rig) Close() {}

func (r *rig) count() int { return len(r.at(&r.logins)) }

// at copies the times of one kind of call.
func (r *rig) at(calls *[]time.Time) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(*calls)
}

func (r *rig) token(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(r.agent.config.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// said counts the lines of the log with a text.
func (r *rig) said(text string) int { return strings.Count(r.log.String(), text) }

// bubble runs check beside a sidecar, in fake time, and then stops it by a
// signal, after which it must end well.
func bubble(t *testing.T, set func(*rig), check func(*testing.T, *rig)) {
	t.Helper()
	p := newPod(t, "https://gateway.example", "")
	p.config.Mode = config.ModeSidecar
	synctest.Test(t, func(t *testing.T) {
		r := &rig{life: 15 * time.Minute}
		a, err := New(Options{Config: p.config, Logger: slog.New(slog.NewJSONHandler(&r.log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		r.agent, a.login = a, r
		a.wall = func() time.Time { return time.Now().Round(0).Add(time.Duration(r.offset.Load())) }
		set(r)
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		synctest.Wait()
		check(t, r)
		cancel(SignalError{15})
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
		if strings.Contains(r.log.String(), "session-token") || strings.Contains(r.log.String(), p.identity) {
			t.Errorf("a secret is in the log:\n%s", r.log.String())
		}
	})
}

// pass lets the time of a bubble go by.
func pass(d time.Duration) { time.Sleep(d) }
