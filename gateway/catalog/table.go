package catalog

import (
	"iter"

	"k8s.io/utils/third_party/forked/golang/btree"
)

// degree of the trees: a change copies a node of at most twice as many rows on each
// of the three levels that 100,000 rows have.
const degree = 32

// table keeps values under ordered keys. A clone shares all of it, and what either
// changes then is copied first: a view of the catalog costs only its difference to
// the one before.
type table[T any] struct{ rows *btree.BTree[row[T]] }

type row[T any] struct {
	key   string
	value T
}

func newTable[T any]() table[T] {
	return table[T]{btree.New(degree, func(a, b row[T]) bool { return a.key < b.key })}
}

// clone must not be called by two at a time.
func (t table[T]) clone() table[T] { return table[T]{t.rows.Clone()} }

func (t table[T]) len() int { return t.rows.Len() }

func (t table[T]) get(key string) (T, bool) {
	found, ok := t.rows.Get(row[T]{key: key})
	return found.value, ok
}

func (t table[T]) has(key string) bool { return t.rows.Has(row[T]{key: key}) }

func (t table[T]) set(key string, value T) { t.rows.ReplaceOrInsert(row[T]{key, value}) }

func (t table[T]) delete(key string) { t.rows.Delete(row[T]{key: key}) }

// all yields the rows in order.
func (t table[T]) all() iter.Seq2[string, T] { return t.from("") }

// from yields the rows in order, beginning with a key or what follows it.
func (t table[T]) from(key string) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		t.rows.AscendGreaterOrEqual(row[T]{key: key}, func(r row[T]) bool { return yield(r.key, r.value) })
	}
}
