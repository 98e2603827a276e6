package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

const (
	manyItems = 100_000
	// rest is how long a gateway is left alone before its memory is looked at.
	rest = 10 * time.Second
)

// BenchmarkSize measures the memory of a gateway at rest, after 1,000 logins, and
// with 100,000 items; how long it takes to start; and how fast so many items are
// read.
func BenchmarkSize(b *testing.B) {
	s := newSecrets(b)
	b.ReportMetric(0, "ns/op")
	s.start(b, b.TempDir())
	s.resident(b, "rest", "Memory at rest, MB", "<= 40")
	s.enter(b, 1000)
	s.resident(b, "after-logins", "Memory at rest after 1,000 logins, MB", "<= 40")

	many := newSecrets(b)
	dir := b.TempDir()
	many.fill(b, dir)
	began := time.Now()
	many.start(b, dir)
	measured.add(b, "start-s", "Start with 100,000 items, s", "< 2", time.Since(began).Seconds(), 2)
	many.resident(b, "many", "Memory at rest with 100,000 items, MB", "<= 250")
	many.enter(b, liveSessions)
	wires := many.wires(b, sessionConnections)
	took, each := fire(b, wires, many.reads(manyItems))
	measured.add(b, "cold-reads/s", "/get-secret-value of 100,000 items, each once, a second", "", manyItems/took.Seconds(), 0)
	measured.add(b, "cold-p99-ms", "  99 of 100 within, ms", "", percentile(each, 99), 2)
	many.resident(b, "many-read", "Memory at rest after these reads, MB", "<= 250")
}

// resident looks at the gateway's memory when it has rested: all of it, which
// counts, and of that what is not a file's, which can't be taken back from it
// (proc_pid_status(5)).
func (s *secrets) resident(b *testing.B, metric, what, goal string) {
	b.Helper()
	all, own := s.memory(b)
	measured.add(b, metric+"-MB", what, goal, all, 0)
	measured.add(b, metric+"-own-MB", "  without mapped files, MB", "", own, 0)
}

// memory is what resident looks at, in MB.
func (s *secrets) memory(b *testing.B) (all, own float64) {
	b.Helper()
	<-time.After(rest)
	status := must(os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID())))(b)
	for scan := bufio.NewScanner(bytes.NewReader(status)); scan.Scan(); {
		_, _ = fmt.Sscanf(scan.Text(), "VmRSS: %g", &all)
		_, _ = fmt.Sscanf(scan.Text(), "RssAnon: %g", &own)
	}
	if all == 0 || own == 0 {
		b.Fatalf("no memory in %s", status)
	}
	return all * 1024 / 1e6, own * 1024 / 1e6
}

// fill makes 100,000 items in a data folder, as a gateway would.
func (s *secrets) fill(b *testing.B, dir string) {
	b.Helper()
	key := filepath.Join(dir, "seal.key")
	must(seal.CreateFile(key))(b)
	quiet := slog.New(slog.DiscardHandler)
	sealer := must(seal.New(seal.Options{File: key, Logger: quiet}))(b)
	database := must(bolt.Open(bolt.Options{Dir: dir}))(b)
	objects := must(catalog.New(catalog.Options{Store: seal.Guard(database), Seal: sealer, Audit: unrecorded{}, Logger: quiet}))(b)
	ctx, stop := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = objects.Run(ctx) }) // it returns nil
	eventually(b, "the empty database to be read", objects.Ready)
	root := must(objects.Bootstrap(ctx, nil))(b)
	as := objects.As(catalog.Caller{AccessID: root.AccessID, Session: "fill"})
	s.names = make([]string, manyItems)
	var next atomic.Int64
	var writers sync.WaitGroup
	for range 512 { // they share commits
		writers.Go(func() {
			for i := next.Add(1) - 1; i < manyItems; i = next.Add(1) - 1 {
				s.names[i] = s.name(int(i))
				item := catalog.Item{Name: s.names[i], Description: "A secret of a service", Tags: []string{"prod", "team"}}
				if err := as.CreateItem(ctx, item, []byte(secretValue)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	stop()
	running.Wait()
	if err := database.Close(); err != nil || b.Failed() {
		b.Fatal(err)
	}
}

// unrecorded is an audit log that nobody reads.
type unrecorded struct{}

func (unrecorded) Write(*audit.Event) error { return nil }
