package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/gatepass/gatepass/gateway/store"
)

// written is the file of a database with some levels of pages, and free ones.
func written(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	for i := range 16 {
		var ops []store.Op
		for j := range 50 {
			ops = append(ops, store.Put(fmt.Sprintf("catalog/item/%d/%d", j, i), bytes.Repeat([]byte{byte(i)}, 100)))
		}
		commit(t, s, ops...)
	}
	commit(t, s, store.Put("long", bytes.Repeat([]byte("x"), store.MaxValue)))
	used := int64(0)
	err := s.db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil })
	content, readErr := os.ReadFile(filepath.Join(dir, FileName))
	if err := errors.Join(err, readErr, s.Close()); err != nil {
		t.Fatal(err)
	}
	return content[:used]
}

// outcome opens a file as a database and reads all of it.
func outcome(t *testing.T, content []byte) (items int, err error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir})
	if err != nil {
		return 0, err
	}
	_, err = s.Snapshot(t.Context(), "", func(store.Item) error { items++; return nil })
	return items, errors.Join(err, s.Close())
}

// A file that was harmed is refused with a word on what to do, or it was harmed
// where nothing lies; it never ends the process.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	const items = 801
	whole := written(t)
	size, pages := os.Getpagesize(), len(whole)/os.Getpagesize()
	page := func(b []byte, n int) []byte { return b[n*size : (n+1)*size] }
	for _, tt := range []struct {
		name string
		harm func(b []byte, n int, random *rand.Rand) []byte
	}{
		{"a page of zeros", func(b []byte, n int, _ *rand.Rand) []byte { clear(page(b, n)); return b }},
		{"a page of noise", func(b []byte, n int, random *rand.Rand) []byte {
			for i := range page(b, n) {
				page(b, n)[i] = byte(random.Uint32())
			}
			return b
		}},
		{"a page that was written half", func(b []byte, n int, _ *rand.Rand) []byte { clear(page(b, n)[size/8:]); return b }},
		{"a page in the place of another", func(b []byte, n int, _ *rand.Rand) []byte { copy(page(b, n), page(whole, (n+7)%pages)); return b }},
		{"a flipped bit in a page's header", func(b []byte, n int, random *rand.Rand) []byte {
			page(b, n)[random.IntN(pageHeader)] ^= 1 << random.IntN(8)
			return b
		}},
		{"a flipped bit in a list of elements", func(b []byte, n int, random *rand.Rand) []byte {
			page(b, n)[pageHeader+random.IntN(300)] ^= 1 << random.IntN(8)
			return b
		}},
		{"the end is missing", func(b []byte, n int, _ *rand.Rand) []byte { return b[:n*size+size/2] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refused := 0
			random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same every time
			for n := range pages {
				found, err := outcome(t, tt.harm(slices.Clone(whole), n, random))
				switch {
				case err != nil && !strings.Contains(err.Error(), "restore a backup"):
					t.Errorf("page %d: %v", n, err)
				case err != nil:
					refused++
				case n > 1 && found != items && strings.HasPrefix(tt.name, "a page"):
					t.Errorf("page %d: %d items are there", n, found)
				}
			}
			if refused == 0 {
				t.Error("nothing was refused")
			}
			t.Logf("%d of %d files were refused", refused, pages)
		})
	}
}

func TestOpenExisting(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "typing-error")
	if _, err := Open(Options{Dir: dir, Existing: true}); err == nil || !strings.Contains(err.Error(), "not that of a gateway") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
	first := mustOpen(t, dir)
	if _, err := Open(Options{Dir: dir, Existing: true, LockTimeout: 1}); !errors.Is(err, ErrLocked) {
		t.Errorf("while another has it open: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Open(Options{Dir: dir, Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// What was written although writing it failed, because the last fsync did, is told
// to those who watch: they read everything anew.
func TestCommitThatFailedAndWasDone(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir())
	first := commit(t, s, store.Put("a", []byte("1")))
	err := s.db.Update(func(tx *bbolt.Tx) error { // as a commit that failed may have left it
		value := encode([]byte("2"))
		stamp(value, first+1)
		return errors.Join(tx.Bucket([]byte(itemsBucket)).Put([]byte("a"), value), putNumber(tx.Bucket([]byte(metaBucket)), revisionKey, first+1))
	})
	if err == nil {
		err = s.reconcile()
	}
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range s.Watch(t.Context(), "", first) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
	next := commit(t, s, store.Update("a", []byte("3"), first+1))
	for e, err := range s.Watch(t.Context(), "", first+1) {
		if err != nil || e.Revision != next {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
}
