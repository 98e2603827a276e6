package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/store/testdata/writer/entry"
)

// build compiles a program of testdata.
func build(tb testing.TB, program string) string {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), program)
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-o", out, "./testdata/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build %s: %v\n%s", program, err, msg)
	}
	return out
}

// A writer is killed again and again: sometimes while it opens the database, else
// while it writes. What it was told to be written is there afterwards, and of what
// it was not told either all or nothing.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	const (
		kills      = 300
		opening    = 5 // every so many kills one comes early
		maxStart   = 20 * time.Millisecond
		maxWriting = 40 * time.Millisecond
		checkEvery = 50
	)
	program, dir := build(t, "writer"), t.TempDir()
	guard := must(process.NewGuard())(t)
	defer func() {
		if err := guard.Release(); err != nil {
			t.Error(err)
		}
	}()
	var acknowledged [entry.Workers]int
	total, unacknowledged := 0, 0
	for i := 1; i <= kills; i++ {
		w := must(process.Start(process.Options{Name: "writer", Path: program, Args: []string{dir}, Guard: guard}))(t)
		if i%opening == 0 {
			<-time.After(rand.N(maxStart)) //nolint:gosec // any moment will do
		} else {
			awaitOutput(t, w)
			<-time.After(rand.N(maxWriting)) //nolint:gosec // any moment will do
		}
		if err := w.Kill(); err != nil {
			t.Fatal(err)
		}
		total += note(t, w.Logs(), &acknowledged)
		unacknowledged += inspect(t, dir, &acknowledged)
		if i%checkEvery == 0 {
			checkPages(t, filepath.Join(dir, bolt.FileName))
		}
		if t.Failed() {
			t.Fatalf("after %d kills; the writer's log ends with %q", i, tail(w.Logs()))
		}
	}
	if total < kills {
		t.Errorf("only %d commits were acknowledged", total)
	}
	t.Logf("%d kills, %d acknowledged commits, %d that were done but not yet acknowledged", kills, total, unacknowledged)
}

// awaitOutput waits for the first acknowledgement.
func awaitOutput(t *testing.T, w *process.Process) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(w.Logs(), "\n") {
		select {
		case <-tick.C:
		case <-w.Done():
			t.Fatalf("the writer ended: %s", w.Logs())
		}
	}
}

// note reads what was acknowledged, and returns how much that is.
func note(t *testing.T, log string, acknowledged *[entry.Workers]int) (lines int) {
	t.Helper()
	for line := range strings.Lines(log) {
		var w, n int
		if _, err := fmt.Sscanf(line, "%d %d\n", &w, &n); err != nil || w < 0 || w >= entry.Workers {
			t.Fatalf("the writer says %q", line)
		}
		if n <= acknowledged[w] {
			t.Fatalf("worker %d got its commit %d acknowledged after %d", w, n, acknowledged[w])
		}
		acknowledged[w] = n
		lines++
	}
	return lines
}

// inspect opens the database, and returns how many commits were done without
// having been acknowledged.
func inspect(t *testing.T, dir string, acknowledged *[entry.Workers]int) (unacknowledged int) {
	t.Helper()
	s := must(bolt.Open(bolt.Options{Dir: dir}))(t)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for w := range acknowledged {
		n := count(t, s, entry.Left(w))
		if right := count(t, s, entry.Right(w)); right != n {
			t.Errorf("worker %d: half of a commit: %d and %d", w, n, right)
		}
		// Each worker has one commit on its way.
		if n != acknowledged[w] && n != acknowledged[w]+1 {
			t.Errorf("worker %d: the database has %d commits, and %d were acknowledged", w, n, acknowledged[w])
		}
		next := max(1, n-entry.Kept+1)
		_, err := s.Snapshot(t.Context(), entry.Prefix(w), func(item store.Item) error {
			if item.Key != entry.Key(w, next) || !bytes.Equal(item.Value, entry.Value(w, next)) {
				t.Errorf("worker %d: %s of %d bytes instead of entry %d", w, item.Key, len(item.Value), next)
			}
			next++
			return nil
		})
		if err != nil || next != n+1 {
			t.Errorf("worker %d: the entries end before %d of %d: %v", w, next, n, err)
		}
		unacknowledged += n - acknowledged[w]
		acknowledged[w] = n
	}
	return unacknowledged
}

func count(t *testing.T, s store.Store, key string) int {
	t.Helper()
	item, err := s.Get(t.Context(), key)
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return must(strconv.Atoi(string(item.Value)))(t)
}

// checkPages has bbolt check every page of the file.
func checkPages(t *testing.T, name string) {
	t.Helper()
	db := must(bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true}))(t)
	err := db.View(func(tx *bbolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Errorf("%s is damaged: %v", name, err)
	}
}

func tail(log string) string { return log[max(0, len(log)-200):] }
