package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

func backups(open func(*testing.T) store.Store) []row {
	return []row{
		{"a backup restores every item", func(t *testing.T, f *fixture) { restoreAll(t, f, newFixture(t, open(t))) }},
		{"a backup of nothing restores nothing", func(t *testing.T, f *fixture) {
			if info, err := store.Restore(f.ctx(), f, bytes.NewReader(f.backup())); err != nil || info.Items != 0 {
				t.Errorf("%+v, %v", info, err)
			}
			f.commit(store.Put("a", nil))
		}},
		{"a store that is not empty is left as it is", func(t *testing.T, f *fixture) {
			backup := f.backup()
			f.put("a")
			if _, err := store.Restore(f.ctx(), f, bytes.NewReader(backup)); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("error %v", err)
			}
			f.expect(map[string]string{"a": "a"})
		}},
		{"a damaged backup leaves the store empty", func(t *testing.T, f *fixture) { refuseDamaged(t, f, newFixture(t, open(t))) }},
		{"a backup that can't be read any more while it is restored leaves the store empty", func(t *testing.T, f *fixture) {
			f.put("a", "b")
			backup := f.backup()
			other := newFixture(t, open(t))
			broken := errors.New("broken pipe")
			_, err := store.Restore(f.ctx(), other, &failing{Reader: bytes.NewReader(backup), err: broken})
			if !errors.Is(err, broken) {
				t.Errorf("error %v", err)
			}
			if left := other.keys("", 10); len(left) > 0 {
				t.Errorf("%q is left", left)
			}
		}},
		{"a restore does its last operations when it ends, also on an item of the backup", func(t *testing.T, f *fixture) {
			restoreWithMore(t, f, newFixture(t, open(t)))
		}},
	}
}

// replacements are backups that take the place of what a store has.
func replacements() []row {
	return []row{
		{"a backup that replaces what is there leaves nothing of it", func(t *testing.T, f *fixture) {
			f.put("a", "b")
			backup := f.backup()
			f.put("b2", "c")
			f.commit(store.Put("a", []byte("other")))
			if info, err := store.Replace(f.ctx(), f, bytes.NewReader(backup), store.Put("more", []byte("more"))); err != nil || info.Items != 2 {
				t.Errorf("%+v, %v", info, err)
			}
			f.expect(map[string]string{"a": "a", "b": "b", "more": "more"})
		}},
		{"a backup replaces what a restore has left that did not end", func(t *testing.T, f *fixture) {
			f.put("a")
			backup := f.backup()
			f.put("restoring", "z")
			if _, err := store.Replace(f.ctx(), f, bytes.NewReader(backup)); err != nil {
				t.Error(err)
			}
			f.expect(map[string]string{"a": "a"})
		}},
		{"a damaged backup replaces nothing", func(t *testing.T, f *fixture) {
			f.put("a")
			backup := f.backup()
			f.put("b")
			if _, err := store.Replace(f.ctx(), f, bytes.NewReader(backup[:len(backup)-2])); err == nil {
				t.Error("it is taken")
			}
			f.expect(map[string]string{"a": "a", "b": "b"})
		}},
		{"a store with a restore that did not end says so", func(t *testing.T, f *fixture) {
			if err := store.CheckComplete(f.ctx(), f); err != nil {
				t.Error(err)
			}
			backup := f.backup()
			f.put("restoring")
			_, restore := store.Restore(f.ctx(), f, bytes.NewReader(backup))
			_, again := store.Backup(f.ctx(), f, io.Discard)
			for name, err := range map[string]error{"check": store.CheckComplete(f.ctx(), f), "restore": restore, "backup": again} {
				if err == nil || !strings.Contains(err.Error(), "did not end") {
					t.Errorf("%s: error %v", name, err)
				}
			}
		}},
	}
}

// recorder remembers what is committed.
type recorder struct {
	store.Store
	all [][]store.Op
}

// Commit implements store.Store.
func (c *recorder) Commit(ctx context.Context, ops ...store.Op) (int64, error) {
	c.all = append(c.all, slices.Clone(ops))
	return c.Store.Commit(ctx, ops...) //nolint:wrapcheck // it is the store's
}

func (f *fixture) backup() []byte {
	f.t.Helper()
	var out bytes.Buffer
	if _, err := store.Backup(f.ctx(), f, &out); err != nil {
		f.t.Fatalf("backup: %v", err)
	}
	return out.Bytes()
}

// failing is a backup of which only the beginning can be read a second time.
type failing struct {
	*bytes.Reader

	err   error
	again bool
}

func (r *failing) Seek(offset int64, whence int) (int64, error) {
	r.again = true
	return r.Reader.Seek(offset, whence)
}

func (r *failing) Read(b []byte) (int, error) {
	if rest := r.Len() - 10; r.again && rest < len(b) {
		if rest <= 0 {
			return 0, r.err
		}
		b = b[:rest]
	}
	return r.Reader.Read(b)
}

// untouched fails a test in which it is written.
type untouched struct{ *fixture }

func (s untouched) Commit(context.Context, ...store.Op) (int64, error) {
	s.t.Error("a damaged backup was written to the store")
	return 0, store.ErrUnavailable
}

func restoreAll(t *testing.T, f, other *fixture) {
	for i := range 3 {
		var ops []store.Op
		for j := range 100 {
			ops = append(ops, store.Put(fmt.Sprintf("i/%d/%d", i, j), []byte{byte(i), byte(j), 0xff}))
		}
		f.commit(ops...)
	}
	f.fill(2 << 20)
	f.commit(store.Put("a", nil), store.Put(strings.Repeat(`"`, store.MaxKey), bytes.Repeat([]byte{0xff}, store.MaxValue)))
	f.commit(store.Delete("i/2/50", store.Any))
	want, _ := f.snapshot("")
	backup := f.backup()
	info, err := store.Restore(f.ctx(), other, bytes.NewReader(backup))
	if err != nil || info.Items != len(want) || time.Since(info.Created) > 2*patience {
		t.Fatalf("restored %+v of %d items: %v", info, len(want), err)
	}
	if got, _ := other.snapshot(""); !maps.Equal(got, want) {
		t.Errorf("%d items are there, want %d", len(got), len(want))
	}
}

func restoreWithMore(t *testing.T, f, other *fixture) {
	f.put("a", "b")
	seen := &recorder{Store: other}
	if _, err := store.Restore(f.ctx(), seen, bytes.NewReader(f.backup()), store.Put("a", []byte("last"))); err != nil {
		t.Fatal(err)
	}
	other.expect(map[string]string{"a": "last", "b": "b"})
	last := seen.all[len(seen.all)-1]
	if len(last) != 2 || last[0].Key != "restoring" || last[0].Action != store.ActionDelete || last[1].Key != "a" {
		t.Errorf("the last commit is %+v", last)
	}
}

func refuseDamaged(t *testing.T, f, other *fixture) {
	for i := range 20 {
		f.put(fmt.Sprintf("i/%02d", i))
	}
	backup := f.backup()
	for name, damaged := range map[string][]byte{
		"a changed value": bytes.Replace(backup, []byte("aS8xMA=="), []byte("aS8xMg=="), 1),
		"a missing line":  bytes.Replace(backup, []byte(`{"key":"i/07","value":"aS8wNw=="}`+"\n"), nil, 1),
		"no end":          backup[:len(backup)-100],
		"half of it":      backup[:len(backup)/2],
		"twice":           append(bytes.Clone(backup), backup...),
		"nothing":         nil,
		"another file":    []byte("kind: Secret\n"),
		"another version": bytes.Replace(backup, []byte(`"version":1`), []byte(`"version":2`), 1),
	} {
		if bytes.Equal(damaged, backup) {
			t.Fatalf("%s: it is not damaged", name)
		}
		_, err := store.Restore(f.ctx(), untouched{other}, bytes.NewReader(damaged))
		if err == nil || strings.Contains(err.Error(), "aS8") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for i := range backup {
		harmed := bytes.Clone(backup)
		harmed[i] ^= 1
		if _, err := store.CheckBackup(bytes.NewReader(harmed)); err == nil {
			t.Errorf("a flipped bit in byte %d is not noticed: %q", i, backup[max(0, i-20):i+1])
		}
		if _, err := store.CheckBackup(bytes.NewReader(backup[:i])); err == nil && i < len(backup)-1 {
			t.Errorf("that all is missing from byte %d on is not noticed", i)
		}
	}
	_, err := store.Restore(f.ctx(), other, bytes.NewReader(backup))
	if err != nil {
		t.Errorf("the backup itself: %v", err)
	}
}
