package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// restoreFrom runs restore with a backup on standard input.
func restoreFrom(t *testing.T, backup []byte, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd := newCommand()
	cmd.SetArgs(append([]string{"restore", "--from", "-"}, args...))
	cmd.SetIn(bytes.NewReader(backup))
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// sample makes a database with a record, and returns a backup of it.
func sample(t *testing.T, dir, key string) []byte {
	t.Helper()
	opened, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened.Commit(t.Context(), store.Put(key, []byte("value"))); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if _, err := store.Backup(t.Context(), opened, &backup); err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	return backup.Bytes()
}

// has fails the test unless a database has a record.
func has(t *testing.T, dir, key string, want bool) {
	t.Helper()
	opened, err := bolt.Open(bolt.Options{Dir: dir, Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = opened.Get(t.Context(), key)
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	if (err == nil) != want || err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Errorf("record %s: %v, want it to be there: %t", key, err, want)
	}
}

func TestABackupIsRestoredFromStandardInput(t *testing.T) {
	t.Parallel()
	backup := sample(t, t.TempDir(), "a")
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := restoreFrom(t, backup[:len(backup)-10], "--data-dir", dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a backup that was cut off: %v", err)
	}
	if out, err := restoreFrom(t, backup, "--data-dir", dir); err != nil || !strings.Contains(out, "1 records were restored") {
		t.Errorf("%q, %v", out, err)
	}
	has(t, dir, "a", true)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

func TestRestoreReplacesWhatIsThere(t *testing.T) {
	t.Parallel()
	backup := sample(t, t.TempDir(), "a")
	for _, test := range []struct {
		name string
		// before makes what is in the folder.
		before func(t *testing.T, dir string)
		aside  bool
	}{
		{"a database", func(t *testing.T, dir string) { sample(t, dir, "b") }, true},
		{"a damaged database", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, bolt.FileName), []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"an empty folder", func(*testing.T, string) {}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			test.before(t, dir)
			if _, err := restoreFrom(t, backup[:len(backup)-10], "--data-dir", dir, "--replace"); err == nil {
				t.Error("a damaged backup was taken")
			}
			if _, err := os.Stat(filepath.Join(dir, bolt.FileName+".old")); err == nil {
				t.Error("a damaged backup had the database moved away")
			}
			if _, err := restoreFrom(t, backup, "--data-dir", dir, "--replace"); err != nil {
				t.Fatal(err)
			}
			has(t, dir, "a", true)
			has(t, dir, "b", false)
			if _, err := os.Stat(filepath.Join(dir, bolt.FileName+".old")); (err == nil) != test.aside {
				t.Errorf("the database of before: %v", err)
			}
			if _, err := restoreFrom(t, backup, "--data-dir", dir); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("without --replace: %v", err)
			}
		})
	}
}

func TestADatabaseThatIsInUseIsNotReplaced(t *testing.T) {
	t.Parallel()
	backup := sample(t, t.TempDir(), "a")
	dir := t.TempDir()
	opened, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.SetAside(bolt.Options{Dir: dir, LockTimeout: tryLock}); !errors.Is(err, bolt.ErrLocked) {
		t.Errorf("a database that is open: %v", err)
	}
	r := restoration{storage: storage{dataDir: dir, lockTimeout: tryLock}, replace: true}
	if _, err := r.run(t.Context(), bytes.NewReader(backup), io.Discard); !errors.Is(err, bolt.ErrLocked) {
		t.Errorf("a restore into it: %v", err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	has(t, dir, "a", false)
}

// The checksum of a backup finds accidents. A record that was exchanged on purpose does
// not open, because its seal is bound to its place, and no gateway starts on it.
func TestAForgedBackupHasNoGatewayStart(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	made, _, _, stop := objects(t, storage{dataDir: dir})
	log := slog.New(slog.DiscardHandler)
	if err := bootstrap(t.Context(), log, made, printed{io.Discard}); err != nil {
		t.Fatal(err)
	}
	stop()
	opened, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	page, err := opened.List(t.Context(), store.Query{Prefix: seal.Prefix, Limit: 2})
	if err != nil || len(page.Items) < 2 {
		t.Fatalf("%d sealed records, %v", len(page.Items), err)
	}
	var forged bytes.Buffer
	_, err = opened.Commit(t.Context(), store.Put(page.Items[0].Key, page.Items[1].Value))
	if err == nil {
		_, err = store.Backup(t.Context(), opened, &forged)
	}
	if err := errors.Join(err, opened.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := restoreFrom(t, forged.Bytes(), "--data-dir", other); err != nil {
		t.Fatal(err)
	}
	s := storage{dataDir: other, sealKeyFile: filepath.Join(dir, sealKeyName)}
	if _, _, err := s.openSealed(t.Context(), log); err == nil {
		t.Error("a gateway takes it")
	}
}
