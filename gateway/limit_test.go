package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	newLimiter := func() *limiter {
		return &limiter{slots: make(chan struct{}, 1), maxWaiting: 1, patience: 5 * time.Second}
	}
	t.Run("a login waits for its turn", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			if l.acquire(t.Context()) != nil {
				t.Fatal("the first does not get in")
			}
			time.AfterFunc(4*time.Second, l.release)
			if l.acquire(t.Context()) != nil {
				t.Error("the second did not wait")
			}
			l.release()
		})
	})
	t.Run("a login that waited too long is sent away", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			turn(t, l)
			began := time.Now()
			if !errors.Is(l.acquire(t.Context()), errOverloaded) || time.Since(began) != 5*time.Second {
				t.Errorf("ended after %s", time.Since(began))
			}
		})
	})
	t.Run("a login behind a full queue is sent away at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			turn(t, l)
			second := make(chan error)
			go func() { second <- l.acquire(t.Context()) }()
			synctest.Wait()
			began := time.Now()
			if !errors.Is(l.acquire(t.Context()), errOverloaded) || time.Since(began) != 0 {
				t.Error("the third waited")
			}
			l.release()
			if <-second != nil {
				t.Error("the second did not get its turn")
			}
		})
	})
	t.Run("a caller that goes gives its place up", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			turn(t, l)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := l.acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || l.waiting.Load() != 0 {
				t.Errorf("%v, and %d wait", err, l.waiting.Load())
			}
		})
	})
}

func turn(t *testing.T, l *limiter) {
	t.Helper()
	if err := l.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &limits{limiters: map[string]*limiter{}, each: 1, maxWaiting: 1, maxTotal: 2, patience: time.Second}
		for _, name := range []string{"a", "b"} {
			if err := l.acquire(t.Context(), name); err != nil {
				t.Fatalf("%s waits for another auth config: %v", name, err)
			}
		}
		began := time.Now()
		if err := l.acquire(t.Context(), "c"); !errors.Is(err, errOverloaded) || time.Since(began) != 0 {
			t.Errorf("one more than the total: %v", err)
		}
		l.release("a")
		if err := l.acquire(t.Context(), "b"); !errors.Is(err, errOverloaded) || time.Since(began) != time.Second {
			t.Errorf("one more than the auth config's: %v", err)
		}
		l.release("b")
		if n := l.total.Load(); n != 0 {
			t.Errorf("%d are under way in the end", n)
		}
	})
}

func TestHoweverManyServersHangOthersFindRoom(t *testing.T) {
	t.Parallel()
	for hanging, want := range map[int]int64{1: 256, 2: 179, 5: 81, 40: 11} {
		synctest.Test(t, func(t *testing.T) {
			l := &limits{
				limiters: map[string]*limiter{}, each: DefaultMaxLogins, maxWaiting: DefaultMaxWaiting,
				maxTotal: DefaultMaxTotal, patience: DefaultPatience,
			}
			for range 400 {
				for n := range hanging {
					go func() { _ = l.acquire(t.Context(), strconv.Itoa(n)) }() // who gets a turn keeps it
				}
				synctest.Wait()
			}
			for n := range hanging {
				if got := l.of(strconv.Itoa(n)).underWay.Load(); got < want-1 || got > want+1 {
					t.Errorf("%d hang: one of them holds %d logins, want %d", hanging, got, want)
				}
			}
			if err := l.acquire(t.Context(), "healthy"); err != nil {
				t.Errorf("%d hang: %v", hanging, err)
			}
			time.Sleep(DefaultPatience)
		})
	}
}

// newBlocking makes a reviewer that says when it was entered, and rejects
// tokens once it is released.
func newBlocking() (blocking Reviewer, entered <-chan struct{}, release chan struct{}) {
	inside, release := make(chan struct{}, 1), make(chan struct{})
	return reviewerFunc(func(ctx context.Context) error {
		inside <- struct{}{}
		<-release
		return rejecting(ctx)
	}), inside, release
}

func TestAClusterThatHangsKeepsOnlyItsOwnCallersWaiting(t *testing.T) {
	t.Parallel()
	hanging, entered, release := newBlocking()
	state := &fixedState{reviewer: reviewerFunc(rejecting), more: map[string]Reviewer{"hang": hanging}}
	g, _ := newGateway(t, state, func(o *Options) { o.MaxLogins, o.MaxWaiting, o.Patience = 1, 1, time.Nanosecond })
	var wg sync.WaitGroup
	wg.Go(func() {
		serve(t, g, http.MethodPost, "/auth", strings.Replace(loginBody(aToken), "k8s-conf", "hang", 1))
	})
	<-entered
	if res, text := serve(t, g, http.MethodPost, "/auth", loginBody(aToken)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a login of another cluster: %d %s", res.StatusCode, text)
	}
	close(release)
	wg.Wait()
}

func TestACallerThatGoesWhileWaitingIsNoOverload(t *testing.T) {
	t.Parallel()
	blocking, entered, release := newBlocking()
	g, kept := newGateway(t, &fixedState{reviewer: blocking}, func(o *Options) { o.MaxLogins, o.MaxWaiting, o.Patience = 1, 1, time.Minute })
	var wg sync.WaitGroup
	wg.Go(func() { serve(t, g, http.MethodPost, "/auth", loginBody(aToken)) })
	<-entered
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	request := httptest.NewRequestWithContext(gone, http.MethodPost, "/auth", strings.NewReader(loginBody(aToken)))
	g.ServeHTTP(httptest.NewRecorder(), request)
	if record := kept.last(t); record["reason"] != "caller-gone" {
		t.Errorf("audit log %v", record)
	}
	close(release)
	wg.Wait()
}

func TestThoseWhoWaitAreCounted(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	release := make(chan struct{})
	slow := reviewerFunc(func(ctx context.Context) error {
		<-release
		return rejecting(ctx)
	})
	g, _ := newGateway(t, &fixedState{reviewer: slow}, func(o *Options) {
		o.MaxLogins, o.MaxWaiting, o.Patience, o.Metrics = 1, 2, time.Minute, registry
	})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { serve(t, g, http.MethodPost, "/auth", loginBody(aToken)) })
	}
	for deadline := time.Now().Add(10 * time.Second); gauge(t, registry, "gatepass_gateway_logins_waiting") != 2; {
		if time.Now().After(deadline) {
			t.Fatal("one of three logins has its turn, and the others are not counted")
		}
		time.Sleep(time.Millisecond)
	}
	if n := gauge(t, registry, "gatepass_gateway_logins_in_flight"); n != 3 {
		t.Errorf("%v logins are in flight", n)
	}
	close(release)
	wg.Wait()
	if n := gauge(t, registry, "gatepass_gateway_logins_waiting"); n != 0 {
		t.Errorf("%v logins wait in the end", n)
	}
}

func TestOverload(t *testing.T) {
	t.Parallel()
	blocking, entered, release := newBlocking()
	g, kept := newGateway(t, &fixedState{reviewer: blocking}, func(o *Options) { o.MaxLogins, o.MaxWaiting, o.Patience = 1, 1, time.Nanosecond })
	var wg sync.WaitGroup
	wg.Go(func() { serve(t, g, http.MethodPost, "/auth", loginBody(aToken)) })
	<-entered
	res, text := serve(t, g, http.MethodPost, "/auth", loginBody(aToken))
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" || !strings.Contains(text, "too many logins") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	if record := kept.last(t); record["reason"] != "overloaded" || record["result"] != "failed" {
		t.Errorf("audit log %v", record)
	}
	close(release)
	wg.Wait()
}
