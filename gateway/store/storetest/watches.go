package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/gateway/store"
)

func watches() []row {
	return []row{
		{"a watcher gets every change after a revision, in order, commit by commit", func(_ *testing.T, f *fixture) {
			start := f.commit(store.Create("a", []byte("0")))
			second := f.commit(store.Put("b", []byte("1")), store.Put("a", []byte("1")), store.Expect("c", store.Absent))
			f.refuse(store.ErrConflict, store.Create("a", nil))
			third := f.commit(store.Delete("a", store.Any), store.Put("c", []byte("2")), store.Delete("missing", store.Any))
			f.changes("", start,
				store.Event{Revision: second, Changes: []store.Change{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("1")}}},
				store.Event{Revision: third, Changes: []store.Change{{Key: "a", Deleted: true}, {Key: "c", Value: []byte("2")}}},
			)
			f.changes("", second, store.Event{Revision: third, Changes: []store.Change{{Key: "a", Deleted: true}, {Key: "c", Value: []byte("2")}}})
		}},
		{"a watcher gets the changes under its prefix only", func(_ *testing.T, f *fixture) {
			start := f.commit(store.Create("a", nil))
			f.commit(store.Put("a/", nil), store.Put("b", nil))
			f.commit(store.Put("a0", nil))
			last := f.commit(store.Put("a", nil), store.Put("a/1", []byte("1")), store.Put("b/1", nil))
			f.changes("a/1", start, store.Event{Revision: last, Changes: []store.Change{{Key: "a/1", Value: []byte("1")}}})
		}},
		{"watchers get what is committed while they wait", func(t *testing.T, f *fixture) {
			start := f.commit(store.Create("a", nil))
			ctx, cancel := context.WithCancel(f.ctx())
			defer cancel()
			var watchers []<-chan store.Event
			for range 3 {
				watchers = append(watchers, f.follow(ctx, start))
			}
			for i := range 10 {
				revision := f.commit(store.Put("a", []byte(strconv.Itoa(i))))
				for _, w := range watchers {
					if e := receive(t, w); e.Revision != revision || string(e.Changes[0].Value) != strconv.Itoa(i) {
						t.Errorf("change %d: %+v", i, e)
					}
				}
			}
		}},
		{"a change that a watcher got is not there to be changed by it", func(_ *testing.T, f *fixture) {
			start := f.commit(store.Create("a", nil))
			f.commit(store.Put("a", []byte("kept")))
			for range 2 {
				for e, err := range f.Watch(f.ctx(), "", start) {
					if err != nil || string(e.Changes[0].Value) != "kept" {
						f.t.Fatalf("%+v, %v", e, err)
					}
					copy(e.Changes[0].Value, "lost")
					break
				}
			}
		}},
		{"a snapshot and the changes after it are what the store has", replicate},
	}
}

func watchEndings() []row {
	return []row{
		{"a revision that the store does not have yet means to read anew", func(_ *testing.T, f *fixture) {
			f.compacted(f.commit(store.Create("a", nil)) + 1<<40)
		}},
		{"what can't be watched is refused", func(_ *testing.T, f *fixture) {
			f.endsAtOnce("\n", 0, store.ErrInvalid)
			f.endsAtOnce("", -1, store.ErrInvalid)
		}},
		{"a waiting watcher ends with its context", func(_ *testing.T, f *fixture) {
			f.ends(context.Canceled, func(cancel func()) { cancel() })
		}},
		{"a waiting watcher ends with the store", func(_ *testing.T, f *fixture) {
			f.ends(store.ErrUnavailable, func(func()) {
				if err := f.Close(); err != nil {
					f.t.Error(err)
				}
			})
		}},
		{"a watcher that is too slow has to read anew", func(_ *testing.T, f *fixture) {
			start := f.commit(store.Create("a", nil))
			got := 0
			for _, err := range f.Watch(f.ctx(), "", start-1) {
				got++
				if errors.Is(err, store.ErrCompacted) {
					return
				}
				if err != nil || got > 1000 {
					f.t.Fatalf("after %d events: error %v", got, err)
				}
				if got == 1 {
					f.fill(24 << 20)
				}
			}
			f.t.Fatalf("after %d events the watch ended without an error", got)
		}},
	}
}

func compaction(compact func(*testing.T, store.Store, int64)) []row {
	return []row{
		{"changes that are forgotten mean to read anew", func(t *testing.T, f *fixture) {
			first := f.commit(store.Create("a", nil))
			second := f.commit(store.Put("a", []byte("2")))
			compact(t, f.Store, second)
			f.compacted(0)
			f.compacted(first - 1)
		}},
		{"items and what comes later stay", func(t *testing.T, f *fixture) {
			f.put("a", "b")
			compact(t, f.Store, f.commit(store.Put("a", []byte("2"))))
			f.expect(map[string]string{"a": "2", "b": "b"})
			content, revision := f.snapshot("")
			if content["a"] != "2" {
				t.Errorf("the snapshot has %q", content["a"])
			}
			last := f.commit(store.Put("a", []byte("3")))
			f.changes("a", revision, store.Event{Revision: last, Changes: []store.Change{{Key: "a", Value: []byte("3")}}})
		}},
	}
}

// changes expects the next events of a watch to be these.
func (f *fixture) changes(prefix string, after int64, want ...store.Event) {
	f.t.Helper()
	var got []store.Event
	for e, err := range f.Watch(f.ctx(), prefix, after) {
		if err != nil {
			f.t.Fatalf("watch: %v; so far %+v", err, got)
		}
		for i := range e.Changes {
			if len(e.Changes[i].Value) == 0 {
				e.Changes[i].Value = nil
			}
		}
		if got = append(got, e); len(got) == len(want) {
			break
		}
	}
	if !reflect.DeepEqual(got, want) {
		f.t.Errorf("watch of %q after %d: %+v, want %+v", prefix, after, got, want)
	}
}

// compacted expects a watch to end at once with ErrCompacted.
func (f *fixture) compacted(after int64) {
	f.t.Helper()
	f.endsAtOnce("", after, store.ErrCompacted)
}

// endsAtOnce expects a watch to yield nothing but an error.
func (f *fixture) endsAtOnce(prefix string, after int64, want error) {
	f.t.Helper()
	yielded := 0
	for e, err := range f.Watch(f.ctx(), prefix, after) {
		yielded++
		if !errors.Is(err, want) {
			f.t.Fatalf("watch of %q after %d: %+v, error %v", prefix, after, e, err)
		}
	}
	if yielded != 1 {
		f.t.Fatalf("watch of %q after %d: it yielded %d times, and not the error once", prefix, after, yielded)
	}
}

// follow watches until ctx ends.
func (f *fixture) follow(ctx context.Context, after int64) <-chan store.Event {
	events := make(chan store.Event)
	go func() {
		defer close(events)
		for e, err := range f.Watch(ctx, "", after) {
			if err != nil {
				if ctx.Err() == nil {
					f.t.Errorf("watch: %v", err)
				}
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	f.t.Cleanup(func() {
		for range events {
			continue // until it is closed
		}
	})
	return events
}

func receive(t *testing.T, events <-chan store.Event) store.Event {
	t.Helper()
	e, ok := <-events // the watch has a deadline
	if !ok {
		t.Fatal("the watch ended")
	}
	return e
}

// ends expects a watch that has got all there is to end when something is done.
func (f *fixture) ends(want error, end func(cancel func())) {
	f.t.Helper()
	after := f.commit(store.Create("a", nil))
	revision := f.commit(store.Put("a", nil))
	ctx, cancel := context.WithCancel(f.ctx())
	defer cancel()
	for e, err := range f.Watch(ctx, "", after) {
		if err == nil {
			if e.Revision != revision {
				f.t.Fatalf("event %+v", e)
			}
			go end(cancel) // by now, or soon, the watch waits
			continue
		}
		if !errors.Is(err, want) {
			f.t.Errorf("error %v, want %v", err, want)
		}
		return
	}
	f.t.Error("the watch ended without an error")
}

// fill writes so many bytes.
func (f *fixture) fill(size int) {
	f.t.Helper()
	value := bytes.Repeat([]byte("x"), store.MaxValue)
	const perCommit = store.MaxCommit/store.MaxValue - 1
	for written := 0; written < size; written += perCommit * store.MaxValue {
		var ops []store.Op
		for i := range perCommit {
			ops = append(ops, store.Put(fmt.Sprintf("fill/%d", i), value))
		}
		f.commit(ops...)
	}
}

// replicate keeps a copy up to date while several write.
func replicate(t *testing.T, f *fixture) {
	const writers, rounds, keys = 4, 60, 20
	f.put("r/00", "r/01", "other")
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range rounds {
				n := (i*7 + w*3) % keys
				a, b := fmt.Sprintf("r/%02d", n), fmt.Sprintf("r/%02d", (n+1)%keys)
				value := []byte(fmt.Sprintf("%d.%d", w, i))
				if _, err := f.Commit(f.ctx(), store.Put(a, value), store.Delete(b, store.Any), store.Put("other", value)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	replica, revision := f.snapshot("r/")
	ended := make(chan int64, 1)
	go func() {
		group.Wait()
		last, err := f.Commit(f.ctx(), store.Put("r/end", nil))
		if err != nil {
			t.Error(err)
		}
		ended <- last
	}()
	for e, err := range f.Watch(f.ctx(), "r/", revision) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Revision <= revision {
			t.Errorf("revision %d comes after %d", e.Revision, revision)
		}
		revision = e.Revision
		for _, c := range e.Changes {
			if replica[c.Key] = string(c.Value); c.Deleted {
				delete(replica, c.Key)
			}
		}
		if _, end := replica["r/end"]; end {
			break
		}
	}
	if last := <-ended; last != revision {
		t.Errorf("the last event has revision %d, the last commit %d", revision, last)
	}
	content, _ := f.snapshot("r/")
	if !maps.Equal(content, replica) {
		t.Errorf("the copy has %v, the store %v", keysOf(replica), keysOf(content))
	}
}

func keysOf(content map[string]string) string {
	var all []string
	for key, value := range content {
		all = append(all, key+"="+value)
	}
	return strings.Join(all, " ")
}
