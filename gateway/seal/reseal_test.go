package seal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

func openStore(t *testing.T) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func recordKey(i int) string { return fmt.Sprintf("%svalue/%04d", Prefix, i) }

// fill seals records, and puts a plain one beside them.
func fill(t *testing.T, st store.Store, s *Sealer, records int) {
	t.Helper()
	ops := []store.Op{store.Put("role/plain", []byte(`{"name":"plain"}`))}
	for i := range records {
		ops = append(ops, store.Put(recordKey(i), mustSeal(t, s, recordKey(i), fmt.Sprint("value ", i))))
		if len(ops) == store.MaxOps || i == records-1 {
			put(t, st, ops...)
			ops = nil
		}
	}
}

func put(t *testing.T, st store.Store, ops ...store.Op) {
	t.Helper()
	if _, err := Guard(st).Commit(t.Context(), ops...); err != nil {
		t.Error(err)
	}
}

// check expects every record to open with its value, under these keys.
func check(t *testing.T, st store.Store, s *Sealer, records int, want Usage) {
	t.Helper()
	for i := range records {
		item, err := st.Get(t.Context(), recordKey(i))
		if err != nil {
			t.Fatal(err)
		}
		opens(t, s, item.Key, item.Value, fmt.Sprint("value ", i), nil)
	}
	if usage, err := Survey(t.Context(), st); err != nil || !maps.Equal(usage, want) {
		t.Errorf("in use are %v (%v), want %v", usage, err, want)
	}
}

// rotated returns a sealer that goes on from the key k1 to k2.
func rotated(t *testing.T) *Sealer {
	t.Helper()
	return sealer(t, line("k1", past, 1), line("k2", recent, 2))
}

func TestReseal(t *testing.T) {
	t.Parallel()
	const records = 450
	st := openStore(t)
	fill(t, st, sealer(t, line("k1", past, 1)), records)
	s := rotated(t)
	if n, err := s.Reseal(t.Context(), st); n != records || err != nil {
		t.Errorf("%d values, %v", n, err)
	}
	check(t, st, sealer(t, line("k2", past, 2)), records, Usage{"k2": records})
	if item, err := st.Get(t.Context(), "role/plain"); err != nil || item.Revision != 1 {
		t.Errorf("a plain record was touched: %+v, %v", item, err)
	}
	if n, err := s.Reseal(t.Context(), st); n != 0 || err != nil {
		t.Errorf("once more: %d values, %v", n, err)
	}
}

func TestResealLargeValues(t *testing.T) {
	t.Parallel()
	const records = 40
	st := openStore(t)
	old := sealer(t, line("k1", past, 1))
	for i := range records {
		put(t, st, store.Put(recordKey(i), mustSeal(t, old, recordKey(i), strings.Repeat("v", MaxValue))))
	}
	if n, err := rotated(t).Reseal(t.Context(), st); n != records || err != nil {
		t.Errorf("%d values, %v", n, err)
	}
}

func TestResealBySeveral(t *testing.T) {
	t.Parallel()
	const records, gateways = 600, 3
	st := openStore(t)
	fill(t, st, sealer(t, line("k1", past, 1)), records)
	var group sync.WaitGroup
	for range gateways {
		s := rotated(t)
		group.Go(func() {
			if _, err := s.Reseal(t.Context(), st); err != nil {
				t.Error(err)
			}
		})
	}
	// And somebody reads, writes and deletes meanwhile.
	s := rotated(t)
	for i := range records {
		item, err := st.Get(t.Context(), recordKey(i))
		if err != nil {
			t.Fatal(err)
		}
		opens(t, s, item.Key, item.Value, fmt.Sprint("value ", i), nil)
		if i%3 == 0 {
			put(t, st, store.Delete(recordKey(i), store.Any))
			put(t, st, store.Create(recordKey(i), mustSeal(t, s, recordKey(i), fmt.Sprint("value ", i))))
		}
	}
	group.Wait()
	check(t, st, s, records, Usage{"k2": records})
}

// intruder calls a function before each commit.
type intruder struct {
	store.Store

	before func(ops []store.Op)
}

func (i intruder) Commit(ctx context.Context, ops ...store.Op) (int64, error) {
	i.before(ops)
	return i.Store.Commit(ctx, ops...)
}

func TestResealLeavesWhatOthersChange(t *testing.T) {
	t.Parallel()
	const records = 5
	st := openStore(t)
	old := sealer(t, line("k1", past, 1))
	fill(t, st, old, records)
	var once sync.Once
	other := intruder{st, func([]store.Op) {
		once.Do(func() {
			put(t, st, store.Put(recordKey(2), mustSeal(t, old, recordKey(2), "changed")), store.Delete(recordKey(3), store.Any))
		})
	}}
	s := rotated(t)
	if n, err := s.Reseal(t.Context(), other); n != records-1 || err != nil {
		t.Errorf("%d values, %v", n, err)
	}
	item, err := st.Get(t.Context(), recordKey(2))
	if err != nil {
		t.Fatal(err)
	}
	opens(t, s, item.Key, item.Value, "changed", nil)
	if _, err := st.Get(t.Context(), recordKey(3)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a deleted record: %v", err)
	}
}

func TestResealBesideAGatewayWithTheOldFile(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	old := sealer(t, line("k1", past, 1))
	fill(t, st, old, 3)
	other := intruder{st, func([]store.Op) { put(t, st, store.Put(recordKey(0), mustSeal(t, old, recordKey(0), "value 0"))) }}
	if _, err := rotated(t).Reseal(t.Context(), other); err == nil || !strings.Contains(err.Error(), "not every gateway") {
		t.Errorf("error %v", err)
	}
}

func TestResealGoesOnWhereItWasBrokenOff(t *testing.T) {
	t.Parallel()
	const records = 350
	st := openStore(t)
	fill(t, st, sealer(t, line("k1", past, 1)), records)
	s := rotated(t)
	ctx, cancel := context.WithCancel(t.Context())
	var commits atomic.Int32
	first, err := s.Reseal(ctx, intruder{st, func([]store.Op) {
		if commits.Add(1) == 2 {
			cancel()
		}
	}})
	if first == 0 || first == records || !errors.Is(err, context.Canceled) {
		t.Errorf("%d values, %v", first, err)
	}
	second, err := s.Reseal(t.Context(), st)
	if first+second != records || err != nil {
		t.Errorf("%d and %d values, %v", first, second, err)
	}
	check(t, st, s, records, Usage{"k2": records})
}

func TestResealReportsWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	const records = 30
	st := openStore(t)
	fill(t, st, sealer(t, line("k1", past, 1)), records)
	lost := sealer(t, line("lost", past, 9))
	put(t, st,
		store.Put(recordKey(1), mustSeal(t, lost, recordKey(1), "value 1")),
		store.Put(recordKey(2), mustSeal(t, rotated(t), recordKey(3), "moved")))
	moved := sealer(t, line("k1", past, 1))
	put(t, st, store.Put(recordKey(4), mustSeal(t, moved, recordKey(3), "moved")))
	s := rotated(t)
	n, err := s.Reseal(t.Context(), st)
	if n != records-3 || !errors.Is(err, ErrMissingKey) || !errors.Is(err, ErrBroken) {
		t.Errorf("%d values, %v", n, err)
	}
	for _, want := range []string{"2 values can't be opened", recordKey(1), "key lost", recordKey(4)} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	usage, err := Survey(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(usage); !errors.Is(err, ErrMissingKey) || !strings.Contains(err.Error(), "1 values are sealed under lost") {
		t.Errorf("error %v", err)
	}
	if err := s.Check(Usage{"k1": 1, "k2": 2}); err != nil {
		t.Error(err)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	g := Guard(st)
	for _, op := range []store.Op{store.Put(recordKey(1), []byte("plain")), store.Create(recordKey(1), nil)} {
		_, err := g.Commit(t.Context(), store.Put("role/a", nil), op)
		if !errors.Is(err, store.ErrInvalid) || strings.Contains(err.Error(), "plain") {
			t.Errorf("error %v", err)
		}
	}
	if _, err := st.Get(t.Context(), "role/a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("half of a commit was done: %v", err)
	}
	put(t, st, store.Put("role/a", []byte("plain")), store.Put(recordKey(1), mustSeal(t, rotated(t), recordKey(1), "x")))
	put(t, st, store.Delete(recordKey(1), store.Any))
	// What was written past the guard is found.
	if _, err := st.Commit(t.Context(), store.Put(recordKey(2), []byte("plain"))); err != nil {
		t.Fatal(err)
	}
	if _, err := Survey(t.Context(), st); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), recordKey(2)) {
		t.Errorf("error %v", err)
	}
}
