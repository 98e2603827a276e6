package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/store"
)

func backups(open func(*testing.T) store.Store) []row {
	return []row{
		{"a backup restores every item", func(t *testing.T, f *fixture) { restoreAll(t, f, newFixture(t, open(t))) }},
		{"a backup of nothing restores nothing", func(t *testing.T, f *fixture) {
			if items, err := store.Restore(f.ctx(), f, bytes.NewReader(f.backup())); err != nil || items != 0 {
				t.Errorf("%d items, %v", items, err)
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
		{"a backup can be read in pieces, and fail to be read", func(t *testing.T, f *fixture) {
			f.put("a", "b")
			backup := f.backup()
			other := newFixture(t, open(t))
			broken := errors.New("broken pipe")
			_, err := store.Restore(f.ctx(), other, io.MultiReader(bytes.NewReader(backup[:len(backup)-10]), &failing{broken}))
			if !errors.Is(err, broken) {
				t.Errorf("error %v", err)
			}
			if left := other.keys("", 10); len(left) > 0 {
				t.Errorf("%q is left", left)
			}
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

func (f *fixture) backup() []byte {
	f.t.Helper()
	var out bytes.Buffer
	if _, err := store.Backup(f.ctx(), f, &out); err != nil {
		f.t.Fatalf("backup: %v", err)
	}
	return out.Bytes()
}

type failing struct{ err error }

func (r *failing) Read([]byte) (int, error) { return 0, r.err }

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
	items, err := store.Restore(f.ctx(), other, bytes.NewReader(backup))
	if err != nil || items != len(want) {
		t.Fatalf("restored %d of %d items: %v", items, len(want), err)
	}
	if got, _ := other.snapshot(""); !maps.Equal(got, want) {
		t.Errorf("%d items are there, want %d", len(got), len(want))
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
	} {
		if bytes.Equal(damaged, backup) {
			t.Fatalf("%s: it is not damaged", name)
		}
		_, err := store.Restore(f.ctx(), other, bytes.NewReader(damaged))
		if err == nil || strings.Contains(err.Error(), "aS8") {
			t.Errorf("%s: error %v", name, err)
		}
		if left := other.keys("", 10); len(left) > 0 {
			t.Errorf("%s: %q is left", name, left)
		}
	}
	_, err := store.Restore(f.ctx(), other, bytes.NewReader(backup))
	if err != nil {
		t.Errorf("the backup itself: %v", err)
	}
}
