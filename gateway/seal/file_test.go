package seal

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMakeAKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "keys")
	first, err := CreateFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateFile(name); !errors.Is(err, os.ErrExist) {
		t.Errorf("a key file was replaced: %v", err)
	}
	s, err := New(Options{File: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	sealed := mustSeal(t, s, "sealed/a", "value")

	second, err := AddKey(name, time.Now().Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	third, err := AddKey(name, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if first == second || second == third {
		t.Errorf("ids %s, %s, %s", first, second, third)
	}
	s, err = New(Options{File: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	opens(t, s, "sealed/a", sealed, "value", nil)
	if s.Current() == third || len(s.keys.Load().keys) != 3 {
		t.Errorf("of %d keys, %s seals", len(s.keys.Load().keys), s.Current())
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("there are %v, %v", entries, err)
	}
}

func TestAddKeyLeavesABrokenFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "keys")
	write(t, name, "k1 half")
	if _, err := AddKey(name, time.Now()); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("error %v", err)
	}
	if content, err := os.ReadFile(name); err != nil || string(content) != "k1 half" {
		t.Errorf("the file holds %q, %v", content, err)
	}
	write(t, name, strings.TrimSpace(line("k1", past, 1))) // no newline at the end
	if _, err := AddKey(name, time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := AddKey(filepath.Join(t.TempDir(), "missing"), time.Now()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A key is added by root, to a file of the gateway's user, which may be a link.
func TestAddKeyLeavesTheFileToTheGateway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, link := filepath.Join(dir, "keys"), filepath.Join(t.TempDir(), "link")
	write(t, name, line("k1", past, 1))
	if err := errors.Join(os.Chmod(name, 0o640), os.Symlink(name, link)); err != nil {
		t.Fatal(err)
	}
	const gateway = 64321
	if os.Geteuid() == 0 {
		if err := os.Chown(name, gateway, gateway); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := AddKey(link, time.Now()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is a %v, %v", info.Mode(), err)
	}
	after, err := os.Stat(name)
	if err != nil || after.Size() <= before.Size() || after.Mode() != 0o640 {
		t.Fatalf("mode %v, %d bytes, %v", after.Mode(), after.Size(), err)
	}
	owner, ok := after.Sys().(*syscall.Stat_t)
	if ok && os.Geteuid() == 0 && (owner.Uid != gateway || owner.Gid != gateway) {
		t.Errorf("it belongs to %d:%d", owner.Uid, owner.Gid)
	}
}
