package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, t.TempDir()) })
}

func TestContractOfCompaction(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T) store.Store { return mustOpen(t, t.TempDir()) }
	storetest.RunCompaction(t, open, func(t *testing.T, s store.Store, _ int64) {
		value := bytes.Repeat([]byte("x"), store.MaxValue)
		for i := range 2 * maxEventsBytes / len(value) {
			if _, err := s.Commit(t.Context(), store.Put(fmt.Sprintf("fill/%d", i%10), value)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func mustOpen(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func commit(tb testing.TB, s *Store, ops ...store.Op) int64 {
	tb.Helper()
	revision, err := s.Commit(context.Background(), ops...)
	if err != nil {
		tb.Fatal(err)
	}
	return revision
}

func TestReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	first := commit(t, s, store.Create("a", []byte("1")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	item, err := s.Get(t.Context(), "a")
	if err != nil || string(item.Value) != "1" || item.Revision != first {
		t.Errorf("%+v, %v", item, err)
	}
	for e, err := range s.Watch(t.Context(), "", first-1) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Fatalf("a watcher from before the restart got %+v, %v", e, err)
		}
	}
	if second := commit(t, s, store.Update("a", nil, first)); second != first+1 {
		t.Errorf("revision %d comes after %d", second, first)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := mustOpen(t, dir)
	name := filepath.Join(dir, FileName)
	check := func(path string, want os.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}
	check(dir, 0o700|os.ModeDir)
	check(name, 0o600)
	if err := errors.Join(s.Close(), os.Chmod(name, 0o660)); err != nil { // as fsGroup leaves it
		t.Fatal(err)
	}
	mustOpen(t, dir)
	check(name, 0o600)
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := mustOpen(t, dir)
	_, err := Open(Options{Dir: dir, LockTimeout: 10 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "another process has "+filepath.Join(dir, FileName)) {
		t.Fatalf("error %v", err)
	}
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		second, err := Open(Options{Dir: dir}) // waits for the first to close
		if err != nil {
			t.Error(err)
			return
		}
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := first.Close(); err != nil {
		t.Error(err)
	}
}

func TestManyOpenANewFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			s, err := Open(Options{Dir: dir})
			if err != nil {
				t.Error(err)
				return
			}
			_, err = s.Commit(t.Context(), store.Create(strconv.Itoa(i), nil))
			if err := errors.Join(err, s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	page, err := mustOpen(t, dir).List(t.Context(), store.Query{Limit: 10})
	if err != nil || len(page.Items) != 4 {
		t.Errorf("%d items, %v", len(page.Items), err)
	}
}

func TestWhatCrashesLeave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left, fresh := filepath.Join(dir, ".gatepass.db-1"), filepath.Join(dir, ".gatepass.db-2")
	before := time.Now().Add(-2 * abandoned)
	err := errors.Join(
		os.WriteFile(left, []byte("half"), 0o600), os.Chtimes(left, before, before),
		os.WriteFile(fresh, []byte("half"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the abandoned database is still there: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("a database that somebody may be making is gone: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	// file returns a database that was changed.
	file := func(t *testing.T, change func([]byte) []byte) string {
		t.Helper()
		dir := t.TempDir()
		s := mustOpen(t, dir)
		commit(t, s, store.Create("a", nil))
		name := filepath.Join(dir, FileName)
		content, err := os.ReadFile(name)
		if err := errors.Join(err, s.Close(), os.WriteFile(name, change(content), 0o600)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"a file that is something else", func([]byte) []byte { return bytes.Repeat([]byte("x"), 1<<16) }, "restore a backup"},
		{"a file that is cut off", func(b []byte) []byte { return b[:1000] }, "restore a backup"},
		{"an empty file", func([]byte) []byte { return nil }, "restore a backup"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(Options{Dir: file(t, tt.change)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v", err)
			}
			if err == nil {
				_ = s.Close()
			}
		})
	}
	t.Run("a database of a later version", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s := mustOpen(t, dir)
		err := s.db.Update(func(tx *bbolt.Tx) error { return putNumber(tx.Bucket([]byte(metaBucket)), formatKey, format+1) })
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "format 2") {
			t.Errorf("error %v", err)
		}
	})
}

// bbolt refuses to grow a file as a full disk would.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir())
	first := commit(t, s, store.Create("a", []byte("1")))
	s.db.MaxSize = 1
	value := bytes.Repeat([]byte("x"), store.MaxValue)
	var group sync.WaitGroup
	for i := range 4 { // one batch or several
		group.Go(func() {
			_, err := s.Commit(t.Context(), store.Put("a", []byte("2")), store.Put(fmt.Sprintf("%d/a", i), value), store.Put(fmt.Sprintf("%d/b", i), value))
			if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, berrors.ErrMaxSizeReached) {
				t.Errorf("error %v", err)
			}
		})
	}
	group.Wait()
	if item, err := s.Get(t.Context(), "a"); err != nil || item.Revision != first {
		t.Errorf("half of a commit was done: %+v, %v", item, err)
	}
	s.db.MaxSize = 0
	next := commit(t, s, store.Update("a", []byte("3"), first))
	for e, err := range s.Watch(t.Context(), "", first) {
		if err != nil || e.Revision != next || string(e.Changes[0].Value) != "3" {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
}
