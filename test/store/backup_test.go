package store_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"testing"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
	"github.com/gatepass/gatepass/gateway/store/etcd"
)

// content returns everything that is in a store.
func content(t *testing.T, s store.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	_, err := s.Snapshot(t.Context(), "", func(item store.Item) error {
		all[item.Key] = string(item.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// move restores a backup of one store into another, and returns its text.
func move(t *testing.T, from, to store.Store) []byte {
	t.Helper()
	var backup bytes.Buffer
	saved := must(store.Backup(t.Context(), from, &backup))(t)
	text := bytes.Clone(backup.Bytes())
	restored := must(store.Restore(t.Context(), to, bytes.NewReader(text)))(t)
	want, got := content(t, from), content(t, to)
	if saved != len(want) || restored.Items != len(want) || !maps.Equal(got, want) {
		t.Fatalf("%d of %d items were backed up, %d restored, and %d are there", saved, len(want), restored.Items, len(got))
	}
	return text
}

// A gateway's store moves from its disk to etcd, and back: with the same key file,
// what was sealed opens everywhere.
func TestBackupMovesBetweenStores(t *testing.T) {
	t.Parallel()
	const records = 2000
	keys := filepath.Join(t.TempDir(), "keys")
	must(seal.CreateFile(keys))(t)
	sealer := must(seal.New(seal.Options{File: keys, Logger: slog.New(slog.DiscardHandler)}))(t)
	open := func() store.Store {
		s := must(bolt.Open(bolt.Options{Dir: t.TempDir()}))(t)
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	first, second, third := open(), startServer(t).open(t, etcd.Options{}), open()
	var ops []store.Op
	for i := range records {
		key, text := fmt.Sprintf("%svalue/%d", seal.Prefix, i), fmt.Sprintf("secret-%d", i)
		ops = append(ops,
			store.Create(key, must(sealer.Seal(key, []byte(text)))(t)),
			store.Create(fmt.Sprintf("item/%d", i), fmt.Appendf(nil, `{"name":"%d"}`, i)))
		if len(ops) == store.MaxOps || i == records-1 {
			must(seal.Guard(first).Commit(t.Context(), ops...))(t)
			ops = nil
		}
	}
	backup := move(t, first, second)
	move(t, second, third)
	if bytes.Contains(backup, []byte("secret-1")) {
		t.Error("a secret is in the backup")
	}
	for name, s := range map[string]store.Store{"etcd": second, "bolt": third} {
		for i := range records {
			item := must(s.Get(t.Context(), fmt.Sprintf("%svalue/%d", seal.Prefix, i)))(t)
			if value, err := sealer.Open(item.Key, item.Value); err != nil || string(value) != fmt.Sprintf("secret-%d", i) {
				t.Fatalf("%s: %s is %q, %v", name, item.Key, value, err)
			}
		}
	}
}
