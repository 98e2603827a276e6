package store_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
	"github.com/gatepass/gatepass/gateway/store/etcd"
)

const manyItems = 100_000

func fill(b *testing.B, s store.Store) {
	b.Helper()
	value := bytes.Repeat([]byte("v"), 200)
	for i := 0; i < manyItems; {
		var ops []store.Op
		for ; i < manyItems && len(ops) < store.MaxOps; i++ {
			ops = append(ops, store.Put(fmt.Sprintf("item/%06d", i), value))
		}
		must(s.Commit(b.Context(), ops...))(b)
	}
}

// BenchmarkResident reports what 100,000 items of 200 bytes cost in memory.
func BenchmarkResident(b *testing.B) {
	dir, program := b.TempDir(), build(b, "resident")
	s := must(bolt.Open(bolt.Options{Dir: dir}))(b)
	fill(b, s)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	found := map[string]int64{}
	for b.Loop() {
		if err := json.Unmarshal(must(exec.CommandContext(b.Context(), program, dir).Output())(b), &found); err != nil {
			b.Fatal(err)
		}
	}
	if found["items"] != manyItems {
		b.Fatalf("found %v", found)
	}
	for _, name := range []string{"open", "read", "map"} {
		b.ReportMetric(float64(found[name+"_anon"])/1e6, name+"-MB")
		b.ReportMetric(float64(found[name+"_file"])/1e6, name+"-file-MB")
	}
}

// BenchmarkEtcd has an etcd of one member that does not wait for its disk: what is
// left is the way there and back.
func BenchmarkEtcd(b *testing.B) {
	s := startServer(b).open(b, etcd.Options{})
	value := bytes.Repeat([]byte("v"), 200)
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("commit/writers=%d", writers), func(b *testing.B) {
			var n atomic.Int64
			var group sync.WaitGroup
			for range writers {
				group.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						if _, err := s.Commit(b.Context(), store.Put(fmt.Sprintf("item/%06d", i%manyItems), value)); err != nil {
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
	fill(b, s)
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			must(s.Get(b.Context(), "item/012345"))(b)
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
