package store_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/etcd"
	"github.com/gatepass/gatepass/test/await"
)

// follow watches everything until the test ends.
func follow(t *testing.T, s store.Store, after int64) <-chan store.Event {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan store.Event, 1000)
	var group sync.WaitGroup
	group.Go(func() {
		for e, err := range s.Watch(ctx, "", after) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("watch: %v", err)
				}
				return
			}
			events <- e
		}
	})
	t.Cleanup(func() { cancel(); group.Wait() })
	return events
}

// next returns the value that the next event has for the key a.
func next(t *testing.T, events <-chan store.Event) string {
	t.Helper()
	select {
	case e := <-events:
		return string(e.Changes[0].Value)
	case <-time.After(await.Patience):
		t.Fatal("no event")
		return ""
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	const (
		outage  = 30 * time.Second
		timeout = 500 * time.Millisecond
		slack   = 5 * time.Second // other tests run at the same time
		back    = 10 * time.Second
	)
	s := startServer(t)
	st := s.open(t, etcd.Options{RequestTimeout: timeout})
	start := must(st.Commit(t.Context(), store.Create("a", []byte("0"))))(t)
	events := follow(t, st, start)
	must(st.Commit(t.Context(), store.Put("a", []byte("before"))))(t)
	if got := next(t, events); got != "before" {
		t.Fatalf("the watcher got %q", got)
	}
	s.kill(t)
	tries := 0
	for begin := time.Now(); time.Since(begin) < outage; tries++ {
		asked := time.Now()
		_, commit := st.Commit(t.Context(), store.Put("a", []byte("lost")))
		_, get := st.Get(t.Context(), "a")
		if !errors.Is(commit, store.ErrUnavailable) || !errors.Is(get, store.ErrUnavailable) || errors.Is(commit, context.DeadlineExceeded) {
			t.Fatalf("commit: %v; get: %v", commit, get)
		}
		if took := time.Since(asked); took > 2*timeout+slack {
			t.Errorf("it took %s to fail twice", took)
		}
	}
	s.restart(t)
	ready := time.Now()
	await.Until(t, "a commit after the outage", func() bool {
		_, err := st.Commit(t.Context(), store.Put("a", []byte("after")))
		return err == nil
	})
	if took := time.Since(ready); took > back {
		t.Errorf("commits came back %s after etcd", took)
	}
	for next(t, events) != "after" {
		t.Log("a commit that failed happened nevertheless")
	}
	t.Logf("%d commits failed; the first one succeeded %s after etcd was ready", tries, time.Since(ready))
}

// Killed at any moment, etcd has what it acknowledged, and a watcher misses none
// of it.
func TestServerKilledUnderWrites(t *testing.T) {
	t.Parallel()
	const kills, perRound = 3, 40
	s := startServer(t)
	st := s.open(t, etcd.Options{})
	start := must(st.Commit(t.Context(), store.Create("start", nil)))(t)
	events := follow(t, st, start)
	acknowledged := map[string]bool{}
	for round := range kills {
		var killer sync.WaitGroup
		for i := range perRound {
			if i == perRound/2 {
				killer.Go(func() {
					if err := errors.Join(s.process.Kill(), s.run()); err != nil {
						t.Error(err)
					}
				})
			}
			key := fmt.Sprintf("%d/%d", round, i)
			if _, err := st.Commit(t.Context(), store.Create(key, nil)); err == nil {
				acknowledged[key] = true
			} else if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("commit: %v", err)
			}
		}
		killer.Wait()
	}
	await.Until(t, "a commit after the kills", func() bool {
		_, err := st.Commit(t.Context(), store.Put("end", nil))
		return err == nil
	})
	if len(acknowledged) < kills*perRound/2 {
		t.Errorf("only %d commits succeeded", len(acknowledged))
	}
	seen := map[string]bool{}
	for !seen["end"] {
		select {
		case e := <-events:
			seen[e.Changes[0].Key] = true
		case <-time.After(await.Patience):
			t.Fatal("no event")
		}
	}
	for key := range acknowledged {
		if _, err := st.Get(t.Context(), key); err != nil {
			t.Errorf("%s was acknowledged: %v", key, err)
		}
		if !seen[key] {
			t.Errorf("%s was not told to the watcher", key)
		}
	}
}

// A login that expires must be noticed by nobody: neither by requests, nor by a
// watch that began with it, nor by one that begins later.
func TestLoginExpires(t *testing.T) {
	t.Parallel()
	const lifetime = time.Second
	s := startSecure(t, fmt.Sprintf("--auth-token-ttl=%d", int(lifetime.Seconds())))
	st := s.open(t, s.options)
	start := must(st.Commit(t.Context(), store.Create("a", []byte("0"))))(t)
	early := follow(t, st, start)
	for i := range 2 {
		<-time.After(3 * lifetime) // etcd looks for expired logins once a second
		late := follow(t, st, start+int64(i))
		value := strconv.Itoa(i)
		must(st.Commit(t.Context(), store.Put("a", []byte(value))))(t)
		for name, events := range map[string]<-chan store.Event{"early": early, "late": late} {
			if got := next(t, events); got != value {
				t.Errorf("the %s watcher got %q", name, got)
			}
		}
	}
}
