// Package storetest holds an implementation of store.Store to its contract.
package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

// patience is how long a test waits for what is due to happen at once.
const patience = 30 * time.Second

// Run runs the suite, each test on an empty store of its own, which it closes.
// Stores may share what counts revisions.
func Run(t *testing.T, open func(*testing.T) store.Store) {
	t.Helper()
	for _, tt := range slices.Concat(items(), endings(), bounds(), lists(), commits(), races(), watches(), watchEndings(), backups(open), replacements()) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, newFixture(t, open(t)))
		})
	}
}

// RunCompaction runs the tests for which a store has to forget the changes up to
// a revision. Those whose store shares its revisions would be disturbed by them.
func RunCompaction(t *testing.T, open func(*testing.T) store.Store, compact func(t *testing.T, s store.Store, revision int64)) {
	t.Helper()
	for _, tt := range compaction(compact) {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, newFixture(t, open(t))) })
	}
}

// row is one test.
type row struct {
	name string
	test func(*testing.T, *fixture)
}

// fixture is a store, of which everything has to succeed unless a test says
// otherwise.
type fixture struct {
	store.Store

	t   testing.TB
	ctx func() context.Context
}

func newFixture(t *testing.T, s store.Store) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(func() {
		cancel()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fixture{Store: s, t: t, ctx: func() context.Context { return ctx }}
}

func (f *fixture) commit(ops ...store.Op) int64 {
	f.t.Helper()
	revision, err := f.Commit(f.ctx(), ops...)
	if err != nil {
		f.t.Fatalf("commit %s: %v", describe(ops), err)
	}
	return revision
}

func (f *fixture) refuse(want error, ops ...store.Op) {
	f.t.Helper()
	if _, err := f.Commit(f.ctx(), ops...); !errors.Is(err, want) {
		f.t.Fatalf("commit %s: error %v, want %v", describe(ops), err, want)
	}
}

func describe(ops []store.Op) string {
	names := make([]string, 0, len(ops))
	for _, o := range ops {
		names = append(names, o.Key)
	}
	return strings.Join(names, ", ")
}

// get returns an item's value, or "-" for none.
func (f *fixture) get(key string) string {
	f.t.Helper()
	item, err := f.Get(f.ctx(), key)
	if errors.Is(err, store.ErrNotFound) {
		return "-"
	}
	if err != nil {
		f.t.Fatalf("get %s: %v", key, err)
	}
	if item.Key != key || item.Revision <= 0 {
		f.t.Fatalf("get %s: %s of revision %d", key, item.Key, item.Revision)
	}
	return string(item.Value)
}

func (f *fixture) expect(want map[string]string) {
	f.t.Helper()
	for key, value := range want {
		if got := f.get(key); got != value {
			f.t.Errorf("%s is %q, want %q", key, got, value)
		}
	}
}

// keys returns the keys under a prefix, read in pages.
func (f *fixture) keys(prefix string, limit int) []string {
	f.t.Helper()
	found := []string{}
	q := store.Query{Prefix: prefix, Limit: limit}
	for {
		page, err := f.List(f.ctx(), q)
		if err != nil {
			f.t.Fatalf("list %q: %v", prefix, err)
		}
		if len(page.Items) > limit {
			f.t.Fatalf("list %q: %d items in a page of %d", prefix, len(page.Items), limit)
		}
		for _, item := range page.Items {
			found = append(found, item.Key)
		}
		if page.Next == "" {
			return found
		}
		q.After = page.Next
	}
}

// snapshot returns everything under a prefix.
func (f *fixture) snapshot(prefix string) (content map[string]string, revision int64) {
	f.t.Helper()
	content = map[string]string{}
	var order []string
	revision, err := f.Snapshot(f.ctx(), prefix, func(item store.Item) error {
		content[item.Key] = string(item.Value)
		order = append(order, item.Key)
		return nil
	})
	if err != nil {
		f.t.Fatalf("snapshot: %v", err)
	}
	if !slices.IsSorted(order) || len(order) != len(content) {
		f.t.Fatalf("a snapshot is not in the order of keys: %q", order)
	}
	return content, revision
}

// put writes items one by one, each with its key as its value.
func (f *fixture) put(keys ...string) {
	f.t.Helper()
	for _, key := range keys {
		f.commit(store.Put(key, []byte(key)))
	}
}
