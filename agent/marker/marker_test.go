package marker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMarker(t *testing.T) {
	t.Parallel()
	read := func(t *testing.T, dir string, want State, wantOK bool) {
		t.Helper()
		if got, ok, err := Read(dir); got != want || ok != wantOK || err != nil {
			t.Errorf("read %+v, %v, %v; want %+v, %v", got, ok, err, want, wantOK)
		}
	}
	set := func(t *testing.T, dir string, s State) *Held {
		t.Helper()
		h, err := Set(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	t.Run("a marker is valid while its agent lives", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		read(t, dir, State{}, false)
		h := set(t, dir, State{Code: 5, Cause: "the gateway denied the login (403)"})
		for range 3 { // reading leaves it as it is
			read(t, dir, State{5, "the gateway denied the login (403)"}, true)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		read(t, dir, State{}, false)
	})
	t.Run("a successor's marker takes the place of a dead one", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		_ = set(t, dir, State{}).Close()
		read(t, dir, State{}, false)
		h := set(t, dir, State{})
		read(t, dir, State{}, true)
		_ = h.Close()
		if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
			t.Errorf("%v, %v", names, err)
		}
	})
	t.Run("strays are swept", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		stray := filepath.Join(dir, "..gatepass-agent.1.tmp")
		if err := os.WriteFile(stray, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(stray, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		_ = set(t, dir, State{}).Close()
		if _, err := os.Stat(stray); !os.IsNotExist(err) {
			t.Errorf("the stray is there: %v", err)
		}
	})
	t.Run("a folder that is not there is named", func(t *testing.T) {
		t.Parallel()
		if _, err := Set("/proc/none", State{}); err == nil || !strings.Contains(err.Error(), "/proc/none") {
			t.Errorf("got %v", err)
		}
	})
}
