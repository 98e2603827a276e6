package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
)

func TestGate(t *testing.T) {
	t.Parallel()
	fill := func(t *testing.T, g *gate) {
		t.Helper()
		for range g.room {
			if err := g.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("who waits gets in when somebody leaves", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGate(2, time.Second)
			fill(t, g)
			began := time.Now()
			time.AfterFunc(time.Second/2, g.leave)
			if err := g.enter(t.Context()); err != nil || time.Since(began) != time.Second/2 {
				t.Errorf("%v after %s", err, time.Since(began))
			}
		})
	})
	t.Run("who waits too long is sent away", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGate(1, time.Second)
			fill(t, g)
			began := time.Now()
			if err := g.enter(t.Context()); !errors.Is(err, errOverloaded) || time.Since(began) != time.Second || g.waiting.Load() != 0 {
				t.Errorf("%v after %s, and %d wait", err, time.Since(began), g.waiting.Load())
			}
		})
	})
	t.Run("who comes when enough wait is sent away at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGate(1, time.Second)
			fill(t, g)
			var queue sync.WaitGroup
			for range maxQueue {
				queue.Go(func() {
					if err := g.enter(t.Context()); err == nil {
						t.Error("somebody got in")
					}
				})
			}
			synctest.Wait()
			began := time.Now()
			if err := g.enter(t.Context()); !errors.Is(err, errOverloaded) || time.Since(began) != 0 {
				t.Errorf("%v after %s", err, time.Since(began))
			}
			queue.Wait()
		})
	})
	t.Run("who goes gives its place up", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGate(1, time.Hour)
			fill(t, g)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := g.enter(ctx); !errors.Is(err, context.DeadlineExceeded) || g.waiting.Load() != 0 {
				t.Errorf("%v, and %d wait", err, g.waiting.Load())
			}
		})
	})
	t.Run("under a crowd no room is lost and none is given twice", func(t *testing.T) {
		t.Parallel()
		g := newGate(3, time.Minute)
		var inside atomic.Int64
		var crowd sync.WaitGroup
		for range maxQueue {
			crowd.Go(func() {
				for range 200 {
					if err := g.enter(t.Context()); err != nil {
						t.Error(err)
						return
					}
					if inside.Add(1) > g.room {
						t.Error("too many are inside")
					}
					inside.Add(-1)
					g.leave()
				}
			})
		}
		crowd.Wait()
		if g.inside.Load() != 0 || g.waiting.Load() != 0 {
			t.Errorf("%d inside and %d waiting in the end", g.inside.Load(), g.waiting.Load())
		}
	})
}

// stuck is a catalog whose reads and changes take for ever, as on a store that
// hangs.
type stuck struct {
	catalog.Accessor
	release chan struct{}
}

func (s *stuck) As(catalog.Caller) catalog.Accessor { return s }
func (s *stuck) CatchUp(context.Context) error      { return catalog.ErrUnavailable }

func (s *stuck) DeleteItem(context.Context, string) error {
	<-s.release
	return catalog.ErrUnavailable
}

func (s *stuck) Settings(context.Context) (catalog.Settings, error) { return catalog.Settings{}, nil }

func TestAStoreThatHangsKeepsOnlyChangesWaiting(t *testing.T) {
	t.Parallel()
	ring := keyring(t)
	synctest.Test(t, func(t *testing.T) {
		hanging := &stuck{release: make(chan struct{})}
		state := &fixedState{method: authmethod.Method{SessionTTL: time.Hour}, reviewer: &admitting{}, sessions: ring}
		g, _ := newGateway(t, state, func(o *Options) { o.Catalog, o.MaxChanges = hanging, 1 })
		token := sessionOf(t, g)
		body := `{"token":"` + token + `","name":"/a"}`
		var first sync.WaitGroup
		first.Go(func() { serve(t, g, http.MethodPost, "/delete-item", body) })
		synctest.Wait()
		if n := g.changes.inside.Load(); n != 1 {
			t.Fatalf("%d changes are under way", n)
		}
		began := time.Now()
		res, text := serve(t, g, http.MethodPost, "/delete-item", body)
		if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" || !strings.Contains(text, "too many requests at a time") || time.Since(began) != commandPatience {
			t.Errorf("the second change: %d %s after %s", res.StatusCode, text, time.Since(began))
		}
		request := httptest.NewRequest(http.MethodDelete, "/v1/secret/metadata/a", http.NoBody)
		request.Header.Set("X-Vault-Token", token)
		recorder := httptest.NewRecorder()
		g.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusTooManyRequests || recorder.Header().Get("Retry-After") == "" || !strings.HasPrefix(recorder.Body.String(), `{"errors":["too many`) {
			t.Errorf("by Vault's protocol: %d %s", recorder.Code, recorder.Body)
		}
		if n := count(t, g.metrics.limited.WithLabelValues(limitChanges)); n != 2 {
			t.Errorf("%v are counted", n)
		}
		for path, want := range map[string]string{"/get-account-settings": "system_access", "/validate-token": `"is_valid":true`} {
			if res, text := serve(t, g, http.MethodPost, path, body); res.StatusCode != http.StatusOK || !strings.Contains(text, want) {
				t.Errorf("%s: %d %s", path, res.StatusCode, text)
			}
		}
		close(hanging.release)
		first.Wait()
		if g.changes.inside.Load() != 0 || g.reads.inside.Load() != 0 {
			t.Error("a turn was not given back")
		}
	})
}
