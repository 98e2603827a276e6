package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileIsRotated(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "audit.log")
	file, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	log := NewLog(file)
	write := func(what string) {
		t.Helper()
		if err := log.Write(&Event{Event: what}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(name string, events ...string) {
		t.Helper()
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
		if len(lines) != len(events) {
			t.Fatalf("%s has %q, want %q", name, content, events)
		}
		for i, e := range events {
			if !strings.Contains(lines[i], `"event":"`+e+`"`) {
				t.Errorf("%s has %q, want %q", name, lines[i], e)
			}
		}
	}
	write("one")
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// logrotate with create
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	write("two")
	expect(name+".1", "one")
	expect(name, "two")
	// with a file that logrotate has made
	if err := os.Rename(name, name+".2"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	write("three")
	expect(name+".2", "two")
	expect(name, "three")
	// logrotate with copytruncate
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	write("four")
	expect(name, "four")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	write("five")
	expect(name, "five")
	// in the middle of a line that could not be written whole
	file.torn = true
	write("six")
	content, err := os.ReadFile(name)
	if err != nil || !strings.Contains(string(content), "\n\n") {
		t.Errorf("%q, %v", content, err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if err := log.Write(&Event{}); err == nil {
		t.Error("a closed file takes a line")
	}
}

func TestFileThatCantBeMadeAnew(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := OpenFile(filepath.Join(dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	log := NewLog(file)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := log.Write(&Event{}); err == nil {
		t.Error("a line was written to a file that nobody can find")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := log.Write(&Event{}); err != nil {
		t.Errorf("when the folder is back: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenFile(dir); err == nil {
		t.Error("a folder was opened")
	}
}

func TestSessionsAreNamedByAHash(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	e := &Event{Session: "the-jti-of-a-session"}
	if err := NewLog(&out).Write(e); err != nil || e.Session != "the-jti-of-a-session" {
		t.Fatalf("%+v, %v", e, err)
	}
	if strings.Contains(out.String(), "jti") || !strings.Contains(out.String(), SessionHash("the-jti-of-a-session")) {
		t.Errorf("%s", out.String())
	}
	if SessionHash("") != "" || len(SessionHash("a")) != 32 || SessionHash("a") == SessionHash("b") {
		t.Error("hashes that are none")
	}
}
