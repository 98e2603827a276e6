package gateway

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
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
			if !l.acquire(t.Context()) {
				t.Fatal("the first does not get in")
			}
			time.AfterFunc(4*time.Second, l.release)
			if !l.acquire(t.Context()) {
				t.Error("the second did not wait")
			}
			l.release()
		})
	})
	t.Run("a login that waited too long is sent away", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			l.acquire(t.Context())
			began := time.Now()
			if l.acquire(t.Context()) || time.Since(began) != 5*time.Second {
				t.Errorf("ended after %s", time.Since(began))
			}
		})
	})
	t.Run("a login behind a full queue is sent away at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			l.acquire(t.Context())
			second := make(chan bool)
			go func() { second <- l.acquire(t.Context()) }()
			synctest.Wait()
			began := time.Now()
			if l.acquire(t.Context()) || time.Since(began) != 0 {
				t.Error("the third waited")
			}
			l.release()
			if !<-second {
				t.Error("the second did not get its turn")
			}
		})
	})
	t.Run("a caller that goes gives its place up", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			l.acquire(t.Context())
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if l.acquire(ctx) || l.waiting.Load() != 0 {
				t.Errorf("%d wait", l.waiting.Load())
			}
		})
	})
}

func TestOverload(t *testing.T) {
	t.Parallel()
	release, entered := make(chan struct{}), make(chan struct{}, 1)
	blocking := reviewerFunc(func(ctx context.Context) error {
		entered <- struct{}{}
		<-release
		return rejecting(ctx)
	})
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
