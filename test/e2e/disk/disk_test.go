//go:build e2e

package disk_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/folder"
	"github.com/gatepass/gatepass/test/product"
)

// mount mounts a small disk in memory.
func mount(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// left is how much of a full disk is left: for some values, and a file has no
// use for the rest.
const left = 512 << 10

// fill takes a disk except for what is left, and returns the file that has it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	file := must(os.Create(name))(t)
	block := make([]byte, 4096)
	var err error
	for err == nil {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	info := must(file.Stat())(t)
	if err := errors.Join(file.Truncate(info.Size()-left), file.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

// writes are the secrets that were tried to write, by their names.
type writes struct {
	stored, refused []string
}

// value is some of what is left on a full disk.
func value() string { return strings.Repeat("x", 60_000) }

// untilRefused writes until the disk has no room for one more. There may be room again
// for the one after: what was refused has left pages in the file that are free.
func (w *writes) untilRefused(t *testing.T, g *folder.Gateway, session string) {
	t.Helper()
	for range 100 {
		name := "/secret-" + strconv.Itoa(len(w.stored)+len(w.refused))
		began := time.Now()
		a := g.MustAsk(t, "/create-secret", "token", session, "name", name, "value", value())
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s to write", took)
		}
		if a.Status == http.StatusOK {
			w.stored = append(w.stored, name)
			continue
		}
		if a.Status != http.StatusServiceUnavailable || a.Error == "" || strings.Contains(a.Error, value()[:100]) {
			t.Fatalf("a write to a full disk: %+v", a)
		}
		w.refused = append(w.refused, name)
		return
	}
	t.Fatal("the disk is never full")
}

// check reads all of them.
func (w *writes) check(t *testing.T, g *folder.Gateway, session string) {
	t.Helper()
	for _, name := range w.stored {
		if a := g.MustAsk(t, "/get-secret-value", "token", session, "names", []string{name}); a.Values[name] != value() {
			t.Errorf("%s is lost: %d %s", name, a.Status, a.Error)
		}
	}
	for _, name := range w.refused {
		if a := g.MustAsk(t, "/get-secret-value", "token", session, "names", []string{name}); a.Status != http.StatusNotFound {
			t.Errorf("%s was refused: %d", name, a.Status)
		}
	}
}

// On a full disk nothing can be changed, and everything else goes on; when there is
// room again, changes are possible without a restart.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := mount(t, "48m")
	f := folder.New(t, commands, filepath.Join(disk, "data"))
	g := f.MustStart(t)
	login := g.Administrator(t)
	session := g.Want(t, "/auth", login...).Token
	g.Want(t, "/create-secret", "token", session, "name", "/before", "value", "v")
	filler := fill(t, disk)

	var w writes
	for range 20 {
		w.untilRefused(t, g, session)
		if a := g.MustAsk(t, "/validate-token", "token", session); !a.IsValid {
			t.Errorf("the session is lost: %+v", a)
		}
		if a := g.MustAsk(t, "/auth", login...); a.Status != http.StatusOK {
			t.Errorf("a login: %+v", a)
		}
		if a := g.MustAsk(t, "/get-secret-value", "token", session, "names", []string{"/before"}); a.Values["/before"] != "v" {
			t.Errorf("a read: %+v", a)
		}
	}
	checkRestart(t, f, g, session, &w)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	g = f.MustStart(t)
	filler = fill(t, disk)
	w.untilRefused(t, g, session)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	g.Want(t, "/create-secret", "token", session, "name", "/after", "value", "v")
	w.check(t, g, session)
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
	f.CheckDatabase(t)
	if len(w.stored) < 2 {
		t.Errorf("only %d secrets fitted", len(w.stored))
	}
	t.Logf("%d secrets fitted, %d did not", len(w.stored), len(w.refused))
}

// checkRestart kills a gateway whose disk is full: the next one starts, although it
// can write nothing.
func checkRestart(t *testing.T, f *folder.Folder, g *folder.Gateway, session string, w *writes) {
	t.Helper()
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	g = f.MustStart(t)
	if a := g.MustAsk(t, "/validate-token", "token", session); !a.IsValid {
		t.Errorf("after a restart on a full disk the session is lost: %+v", a)
	}
	w.untilRefused(t, g, session)
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
}

// refusal starts a gateway that can't start, and returns what it says.
func refusal(t *testing.T, f *folder.Folder) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), commands.Path(product.Gateway), "serve", "--data-dir="+f.Dir, "--issuer=https://gatepass.test:8000",
		"--tls-cert="+f.Options.CertFile, "--tls-key="+f.Options.KeyFile, "--listen=127.0.0.1:0", "--metrics-bind-address=0", "--health-probe-bind-address=0")
	done := make(chan struct{})
	timer := time.AfterFunc(await.Patience, func() { close(done); _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("it starts: %v", err)
	}
	select {
	case <-done:
		t.Fatalf("it does not end: %s", out)
	default:
	}
	if bytes.Contains(out, []byte("goroutine ")) {
		t.Errorf("it ends with a trace: %s", out)
	}
	return string(out)
}

func TestFolderThatCantBeWritten(t *testing.T) {
	t.Parallel()
	disk := mount(t, "48m")
	f := folder.New(t, commands, filepath.Join(disk, "data"))
	g := f.MustStart(t)
	g.Administrator(t)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if out := refusal(t, f); !strings.Contains(out, "read-only file system") || !strings.Contains(out, f.Dir) {
		t.Errorf("%s", out)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	f.MustStart(t).Administrator(t)
}

// A database that was harmed ends the start with a word on what to do.
func TestHarmedDatabase(t *testing.T) {
	t.Parallel()
	f := folder.New(t, commands, t.TempDir())
	g := f.MustStart(t)
	login := g.Administrator(t)
	session := g.Want(t, "/auth", login...).Token
	for _, name := range []string{"/a", "/b", "/c"} {
		g.Want(t, "/create-secret", "token", session, "name", name, "value", strings.Repeat("x", 60_000))
	}
	backup := filepath.Join(t.TempDir(), "backup")
	maintain(t, "backup", "--data-dir="+f.Dir, "--out="+backup)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(f.Dir, "gatepass.db")
	whole := must(os.ReadFile(name))(t)
	for what, harm := range map[string]func([]byte) []byte{
		"both first pages are torn": func(b []byte) []byte { clear(b[:8192]); return b },
		"the others are torn":       func(b []byte) []byte { clear(b[8192:]); return b },
		"the end is missing":        func(b []byte) []byte { return b[:16384] },
		"it is empty":               func([]byte) []byte { return nil },
	} {
		if err := os.WriteFile(name, harm(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := refusal(t, f); !strings.Contains(out, "move it away and restore a backup") {
			t.Errorf("%s: %s", what, out)
		}
	}
	if err := os.Rename(name, name+".harmed"); err != nil {
		t.Fatal(err)
	}
	maintain(t, "restore", "--data-dir="+f.Dir, "--from="+backup)
	g = f.MustStart(t)
	if a := g.MustAsk(t, "/get-secret-value", "token", session, "names", []string{"/b"}); a.Status != http.StatusUnauthorized {
		t.Errorf("a session of before the restore: %d %s", a.Status, a.Error)
	}
	session = g.Want(t, "/auth", login...).Token
	if a := g.MustAsk(t, "/get-secret-value", "token", session, "names", []string{"/b"}); len(a.Values["/b"]) != 60_000 {
		t.Errorf("after the restore: %d %s", a.Status, a.Error)
	}
}

// maintain runs a maintenance command.
func maintain(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), commands.Path(product.Gateway), args...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
}
