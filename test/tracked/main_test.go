package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gatepass/gatepass/test/repo"
)

func TestTrackedBinariesAreFound(t *testing.T) {
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"program":         self[:4096],
		"folder/late.bin": append(make([]byte, 0, 200), "text and then\x00"...),
		"text.go":         []byte("package text\n"),
		"empty":           nil,
		"utf8.md":         []byte("数据\n"),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "untracked"), self[:4096], 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := binaries(t.Context(), dir)
	if want := []string{"folder/late.bin", "program"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("want %q, got %q (%v)", want, got, err)
	}
}

func TestAFolderWithoutTrackedFilesIsAnError(t *testing.T) {
	if found, err := binaries(t.Context(), t.TempDir()); err == nil {
		t.Errorf("want an error, got %q", found)
	}
}

func TestThisRepositoryTracksNoBinary(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	if found, err := binaries(t.Context(), root); err != nil || len(found) > 0 {
		t.Errorf("want none, got %q (%v)", found, err)
	}
}
