package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const secret = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2VjcmV0"

func sample() Session {
	return Session{
		Token:   secret,
		Gateway: "https://gateway.example:8000",
		Issued:  time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		Expiry:  time.Date(2030, 1, 2, 3, 19, 5, 0, time.UTC),
		Claims:  map[string]any{"sub": "system:serviceaccount:a:b"},
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWrite(t *testing.T) {
	t.Parallel()
	for _, mode := range []fs.FileMode{0o400, 0o440, 0o444, 0o600, 0o660} {
		t.Run(fmt.Sprintf("all files have mode %#o", mode), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			files := Files{Token: filepath.Join(dir, "token"), CA: "certificates", Mode: mode}
			for range 2 { // a second write replaces the first, read-only as it may be
				if err := files.Write(sample()); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"token", "session.json", "ca.crt"} {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if info.Mode() != mode {
					t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
				}
			}
			if got := list(t, dir); !slices.Equal(got, []string{"ca.crt", "session.json", "token"}) {
				t.Errorf("the directory holds %q", got)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil || string(got) != "certificates" {
				t.Errorf("ca.crt is %q, %v", got, err)
			}
		})
	}

	t.Run("the token is raw and the description holds no secret", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := (Files{Token: filepath.Join(dir, "my-token"), Mode: 0o400}).Write(sample()); err != nil {
			t.Fatal(err)
		}
		token, err := os.ReadFile(filepath.Join(dir, "my-token"))
		if err != nil || string(token) != secret {
			t.Errorf("token is %q, %v", token, err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "session.json"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(secret)) {
			t.Error("session.json holds the token")
		}
		var got map[string]any
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"gateway": "https://gateway.example:8000",
			"issued":  "2030-01-02T03:04:05Z",
			"expiry":  "2030-01-02T03:19:05Z",
			"claims":  map[string]any{"sub": "system:serviceaccount:a:b"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("session.json (-want +got):\n%s", diff)
		}
	})

	t.Run("an unknown expiry is left out", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s := sample()
		s.Expiry, s.Claims = time.Time{}, nil
		if err := (Files{Token: filepath.Join(dir, "token"), Mode: 0o400}).Write(s); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "session.json"))
		if err != nil || bytes.Contains(data, []byte("expiry")) || bytes.Contains(data, []byte("claims")) {
			t.Errorf("session.json is %s, %v", data, err)
		}
	})

	t.Run("what a killed agent left behind is swept, and what another one writes is left alone", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		for name, age := range map[string]time.Duration{
			".token.1.tmp": time.Hour, ".session.json.22.tmp": 2 * time.Minute, ".token.3.tmp": time.Second, ".other.4.tmp": time.Hour, "token.tmp": time.Hour,
		} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte("half"), 0o400); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		if err := (Files{Token: filepath.Join(dir, "token"), Mode: 0o400}).Write(sample()); err != nil {
			t.Fatal(err)
		}
		if got := list(t, dir); !slices.Equal(got, []string{".other.4.tmp", ".token.3.tmp", "session.json", "token", "token.tmp"}) {
			t.Errorf("the directory holds %q", got)
		}
	})
}

func TestWriteIsNeverSeenPartly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := Files{Token: filepath.Join(dir, "token"), Mode: 0o400}
	const writers = 2 // two agents, after a kubelet lost track of one
	done := make(chan error, writers)
	for range writers {
		go func() {
			for i := range 150 {
				s := sample()
				s.Token = strings.Repeat(string(rune('a'+i%26)), 20_000)
				if err := files.Write(s); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	left := writers
	seen := 0
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if left--; left > 0 {
				continue
			}
			if seen == 0 {
				t.Error("the reader never saw the token")
			}
			return
		default:
		}
		data, err := os.ReadFile(files.Token)
		if err != nil {
			continue // not there yet
		}
		seen++
		if len(data) != 20_000 || strings.Trim(string(data), string(data[:1])) != "" {
			t.Fatalf("a reader saw %d bytes, of mixed or partial content", len(data))
		}
		// Whoever sees the token sees its description.
		if _, err := os.Stat(filepath.Join(dir, "session.json")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteFails(t *testing.T) {
	t.Parallel()
	t.Run("a missing directory is named", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "none")
		err := Files{Token: filepath.Join(dir, "token"), Mode: 0o400}.Write(sample())
		if err == nil || !strings.Contains(err.Error(), dir+" does not exist") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a directory in the token's place is refused and nothing stays behind", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "token"), 0o700); err != nil {
			t.Fatal(err)
		}
		err := Files{Token: filepath.Join(dir, "token"), Mode: 0o400}.Write(sample())
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v", err)
		}
		if got := list(t, dir); slices.ContainsFunc(got, func(n string) bool { return strings.HasSuffix(n, ".tmp") }) {
			t.Errorf("a temporary file with the token stays behind: %q", got)
		}
	})
}

// Root ignores modes, and a full or read-only file system takes a mount: the
// messages are tested on the errors themselves.
func TestExplain(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]string{
		syscall.EACCES: "writable in the agent",
		syscall.EROFS:  "writable in the agent",
		syscall.ENOSPC: "is full",
		syscall.EDQUOT: "is full",
		syscall.EIO:    "can't be written: ",
	} {
		t.Run(fmt.Sprintf("%v is explained", errno), func(t *testing.T) {
			t.Parallel()
			err := explain("/s/token", &fs.PathError{Op: "open", Path: "/s/.token.tmp", Err: errno})
			if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "/s/token") {
				t.Errorf("got %v", err)
			}
		})
	}
}
