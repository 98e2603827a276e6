package catalog

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

const benchItems = 100_000

// filled is a database of items with values of a hundred bytes, and the file of its
// keys.
func filled(b *testing.B) (dir string, sealer *seal.Sealer, root Caller) {
	b.Helper()
	dir, sealer = b.TempDir(), newSealer(b)
	database, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	c, stop := start(b, Options{Store: database, Seal: sealer, Audit: &ledger{}})
	made, err := c.Bootstrap(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	stop()
	now := time.Now().UnixMilli()
	value := []byte(strings.Repeat("v", 100))
	var ops []store.Op
	for n := range benchItems {
		i := &item{
			name: fmt.Sprintf("team-%03d/service-%02d/secret-%06d", n%500, n%40, n), id: newID(), description: "A secret of a service",
			tags: []string{"prod", "team"}, versions: []int64{now}, first: 1, created: now, modified: now,
		}
		record, err := encode(i.record())
		if err != nil {
			b.Fatal(err)
		}
		if record, err = sealer.Seal(i.key(), record); err != nil {
			b.Fatal(err)
		}
		sealed, err := sealer.Seal(valueKey(i.id, 1), value)
		if err != nil {
			b.Fatal(err)
		}
		ops = append(ops, store.Create(i.key(), record), store.Create(valueKey(i.id, 1), sealed))
		if len(ops) == store.MaxOps || n == benchItems-1 {
			if _, err := database.Commit(b.Context(), ops...); err != nil {
				b.Fatal(err)
			}
			ops = nil
		}
	}
	if err := database.Close(); err != nil {
		b.Fatal(err)
	}
	return dir, sealer, Caller{AccessID: made.AccessID, Session: "root"}
}

// resident is the process's memory, in bytes.
func resident(b *testing.B) float64 {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	content, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(content), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * float64(os.Getpagesize())
}

// BenchmarkHundredThousandItems measures a start, with the memory of the process
// after it, reads, writes and lists.
func BenchmarkHundredThousandItems(b *testing.B) {
	dir, sealer, root := filled(b)
	options := Options{Seal: sealer, Audit: &discard{}}
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			database, err := bolt.Open(bolt.Options{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			options.Store = seal.Guard(database)
			_, stop := start(b, options)
			b.StopTimer()
			b.ReportMetric(resident(b)/(1<<20), "MiB-process")
			stop()
			if err := database.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	database, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = database.Close() }()
	options.Store = seal.Guard(database)
	c, stop := start(b, options)
	defer stop()
	as, ctx := c.As(root), b.Context()
	b.Run("read", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n = (n*7919 + 1) % benchItems
			if _, _, err := as.Value(ctx, fmt.Sprintf("team-%03d/service-%02d/secret-%06d", n%500, n%40, n), 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := as.CreateItem(ctx, Item{Name: "new/" + newID()}, []byte("value")); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if items, _, _, err := as.ListItems(ctx, "/team-007", Page{Limit: 100}); err != nil || len(items) != 100 {
				b.Fatal(len(items), err)
			}
		}
	})
}

// BenchmarkPolicyStart measures a start with ten thousand objects that decide access:
// as many auth methods, roles, associations and revoked sessions each.
func BenchmarkPolicyStart(b *testing.B) {
	const each = 2500
	dir, sealer := b.TempDir(), newSealer(b)
	database, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = database.Close() }()
	now := time.Now().UTC()
	sealed := records{database, sealer}
	for n := range each {
		m := methodRecord{AccessID: fmt.Sprintf("p-%011dkm", n), Type: TypeK8s, Namespaces: []string{"team"}, Created: now, Modified: now}
		r := roleRecord{ID: fmt.Sprint("role-", n), Created: now, Modified: now, Rules: []ruleRecord{{access.ItemRule, fmt.Sprintf("/team-%d/*", n), []access.Capability{access.Read}}}}
		var ops []store.Op
		for key, record := range map[string]any{
			fmt.Sprint(methodPrefix, "team/", n):     m,
			fmt.Sprint(rolePrefix, "team/", n):       r,
			fmt.Sprint(associationPrefix, "ass-", n): associationRecord{Role: r.ID, AccessID: m.AccessID, Created: now},
			fmt.Sprint(revokedSessionPrefix, n):      revocationRecord{AccessID: m.AccessID, Expires: now.Add(time.Hour).Unix()},
		} {
			value, err := encode(record)
			if err != nil {
				b.Fatal(err)
			}
			ops = append(ops, store.Create(key, value))
		}
		if _, err := sealed.Commit(b.Context(), ops...); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		c, stop := start(b, Options{Store: database, Seal: sealer, Audit: &discard{}})
		if got := c.View().roles.len(); got != each {
			b.Fatalf("%d roles", got)
		}
		b.StopTimer()
		stop()
		b.StartTimer()
	}
	b.ReportMetric(resident(b)/(1<<20), "MiB-process")
}
