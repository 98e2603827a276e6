package bolt

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

const manyItems = 100_000

// maxOpen is what the store promises for manyItems. It takes a fraction of that.
const maxOpen = 2 * time.Second

func itemKey(i int) string { return fmt.Sprintf("item/%06d", i) }

// fill writes manyItems of 200 bytes, and closes the database.
func fill(tb testing.TB, dir string) {
	tb.Helper()
	s := mustOpen(tb, dir)
	value := bytes.Repeat([]byte("v"), 200)
	for i := 0; i < manyItems; {
		var ops []store.Op
		for ; i < manyItems && len(ops) < store.MaxOps; i++ {
			ops = append(ops, store.Put(itemKey(i), value))
		}
		commit(tb, s, ops...)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

func TestOpensManyItemsInTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir)
	begin := time.Now()
	s := mustOpen(t, dir)
	if _, err := s.Get(t.Context(), itemKey(manyItems-1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > maxOpen {
		t.Errorf("it took %s to open %d items; at most %s are promised", took, manyItems, maxOpen)
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	fill(b, dir)
	for b.Loop() {
		s, err := Open(Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	value := bytes.Repeat([]byte("v"), 200)
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := mustOpen(b, b.TempDir())
			var n atomic.Int64
			var group sync.WaitGroup
			b.ResetTimer()
			for range writers {
				group.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						if _, err := s.Commit(b.Context(), store.Put(itemKey(int(i)%manyItems), value)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	fill(b, dir)
	s := mustOpen(b, dir)
	b.Run("get", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := s.Get(b.Context(), itemKey(i*7919%manyItems)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list all", func(b *testing.B) {
		for b.Loop() {
			items := 0
			for q := (store.Query{Limit: store.MaxPage}); ; {
				page, err := s.List(b.Context(), q)
				if err != nil {
					b.Fatal(err)
				}
				items += len(page.Items)
				if q.After = page.Next; q.After == "" {
					break
				}
			}
			if items != manyItems {
				b.Fatalf("%d items", items)
			}
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			items := 0
			if _, err := s.Snapshot(b.Context(), "", func(store.Item) error { items++; return nil }); err != nil || items != manyItems {
				b.Fatal(items, err)
			}
		}
	})
}
