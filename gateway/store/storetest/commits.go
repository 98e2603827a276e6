package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/gateway/store"
)

func commits() []row {
	return []row{
		{"creating what exists is a conflict", func(_ *testing.T, f *fixture) {
			f.commit(store.Create("a", []byte("1")))
			f.refuse(store.ErrConflict, store.Create("a", []byte("2")))
			f.expect(map[string]string{"a": "1"})
		}},
		{"an update needs the revision of the last change", func(_ *testing.T, f *fixture) {
			first := f.commit(store.Create("a", []byte("1")))
			second := f.commit(store.Update("a", []byte("2"), first))
			f.refuse(store.ErrConflict, store.Update("a", []byte("3"), first))
			f.refuse(store.ErrConflict, store.Update("a", []byte("3"), second+1))
			f.refuse(store.ErrConflict, store.Update("missing", []byte("3"), second))
			f.expect(map[string]string{"a": "2", "missing": "-"})
		}},
		{"a put asks nothing", func(_ *testing.T, f *fixture) {
			f.commit(store.Put("a", []byte("1")))
			f.commit(store.Put("a", []byte("2")))
			f.expect(map[string]string{"a": "2"})
		}},
		{"a deletion needs the revision, unless it asks nothing", func(_ *testing.T, f *fixture) {
			first := f.commit(store.Create("a", nil), store.Create("b", nil))
			f.commit(store.Put("a", []byte("2")))
			f.refuse(store.ErrConflict, store.Delete("a", first))
			f.refuse(store.ErrConflict, store.Delete("missing", first))
			f.commit(store.Delete("a", store.Any), store.Delete("b", first), store.Delete("missing", store.Any))
			f.expect(map[string]string{"a": "-", "b": "-"})
		}},
		{"an expectation holds a commit to what is there, and to what is not", func(_ *testing.T, f *fixture) {
			first := f.commit(store.Create("a", nil))
			f.commit(store.Expect("a", first), store.Expect("missing", store.Absent), store.Put("b", []byte("1")))
			f.refuse(store.ErrConflict, store.Expect("a", first+1), store.Put("b", []byte("2")))
			f.refuse(store.ErrConflict, store.Expect("a", store.Absent), store.Put("b", []byte("2")))
			f.refuse(store.ErrConflict, store.Expect("missing", first), store.Put("b", []byte("2")))
			f.expect(map[string]string{"b": "1"})
		}},
		{"one condition that does not hold stops all operations", func(_ *testing.T, f *fixture) {
			first := f.commit(store.Create("c", []byte("1")), store.Create("d", []byte("1")))
			put, remove, create := store.Put("z", []byte("2")), store.Delete("d", first), store.Create("c", []byte("2"))
			f.refuse(store.ErrConflict, create, put, remove)
			f.refuse(store.ErrConflict, put, remove, create)
			f.expect(map[string]string{"c": "1", "d": "1", "z": "-"})
		}},
	}
}

func races() []row {
	return []row{
		{"a commit that changes nothing is nobody's news", func(t *testing.T, f *fixture) {
			start := f.commit(store.Create("a", nil))
			for name, got := range map[string]int64{
				"an expectation":        f.commit(store.Expect("a", start)),
				"a deletion of nothing": f.commit(store.Delete("missing", store.Any)),
			} {
				if got < start {
					t.Errorf("%s: revision %d comes after %d", name, got, start)
				}
			}
			next := f.commit(store.Put("b", nil))
			f.changes("", start, store.Event{Revision: next, Changes: []store.Change{{Key: "b"}}})
		}},
		{"of many who create a key one succeeds", func(t *testing.T, f *fixture) {
			const many = 16
			var mu sync.Mutex
			var winners []string
			var group sync.WaitGroup
			for i := range many {
				group.Go(func() {
					value := strconv.Itoa(i)
					_, err := f.Commit(f.ctx(), store.Create("a", []byte(value)))
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						winners = append(winners, value)
					case !errors.Is(err, store.ErrConflict):
						t.Error(err)
					}
				})
			}
			group.Wait()
			if len(winners) != 1 || f.get("a") != winners[0] {
				t.Errorf("%q succeeded; the value is %q", winners, f.get("a"))
			}
		}},
		{"no increment of a counter is lost", countTogether},
		{"a store does what a map does", behaveLikeMap},
	}
}

// countTogether has several writers increment one counter, and one of their own
// with it.
func countTogether(t *testing.T, f *fixture) {
	const writers, increments = 8, 25
	f.commit(store.Create("counter", []byte("0")))
	var group sync.WaitGroup
	for w := range writers {
		own := fmt.Sprintf("own/%d", w)
		group.Go(func() {
			for done := 0; done < increments; {
				item, err := f.Get(f.ctx(), "counter")
				if err != nil {
					t.Error(err)
					return
				}
				n, err := strconv.Atoi(string(item.Value))
				if err != nil {
					t.Error(err)
					return
				}
				_, err = f.Commit(f.ctx(), store.Update("counter", []byte(strconv.Itoa(n+1)), item.Revision), store.Put(own, []byte(strconv.Itoa(done+1))))
				switch {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	f.expect(map[string]string{"counter": strconv.Itoa(writers * increments), "own/0": strconv.Itoa(increments)})
}

// behaveLikeMap does random commits on the store and on a map.
func behaveLikeMap(t *testing.T, f *fixture) {
	const rounds = 300
	m := oracle{random: rand.New(rand.NewPCG(1, 2)), values: map[string]string{}, revisions: map[string]int64{}} //nolint:gosec // the same commits in every run
	for round := range rounds {
		ops, after, ok := m.next(strconv.Itoa(round))
		revision, err := f.Commit(f.ctx(), ops...)
		if ok != (err == nil) || err != nil && !errors.Is(err, store.ErrConflict) {
			t.Fatalf("round %d: %+v: error %v", round, ops, err)
		}
		if ok {
			m.apply(ops, after, revision)
		}
	}
	if content, _ := f.snapshot("k/"); !maps.Equal(content, m.values) {
		t.Errorf("the store has %v, and the map %v", content, m.values)
	}
	if got, want := f.keys("", 5), slices.Sorted(maps.Keys(m.values)); !slices.Equal(got, want) {
		t.Errorf("the store has %q, and the map %q", got, want)
	}
}

// oracle is what a store should have.
type oracle struct {
	random    *rand.Rand
	values    map[string]string
	revisions map[string]int64
}

// next returns a commit, what there is after it, and whether it can succeed.
func (m *oracle) next(value string) (ops []store.Op, after map[string]string, ok bool) {
	const keys, most = 12, 4
	after, ok = maps.Clone(m.values), true
	for _, n := range m.random.Perm(keys)[:1+m.random.IntN(most)] {
		key := fmt.Sprintf("k/%02d", n)
		_, exists := m.values[key]
		op := []store.Op{
			store.Create(key, []byte(value)),
			store.Update(key, []byte(value), m.revisions[key]), // 0 is Absent
			store.Put(key, []byte(value)),
			store.Delete(key, store.Any),
			store.Expect(key, m.revisions[key]),
		}[m.random.IntN(5)]
		ops = append(ops, op)
		ok = ok && (op.Action != store.ActionPut || op.Revision != store.Absent || !exists)
		switch op.Action {
		case store.ActionPut:
			after[key] = value
		case store.ActionDelete:
			delete(after, key)
		case store.ActionExpect:
		}
	}
	return ops, after, ok
}

func (m *oracle) apply(ops []store.Op, after map[string]string, revision int64) {
	m.values = after
	for _, o := range ops {
		switch o.Action {
		case store.ActionPut:
			m.revisions[o.Key] = revision
		case store.ActionDelete:
			delete(m.revisions, o.Key)
		case store.ActionExpect:
		}
	}
}
