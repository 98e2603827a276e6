package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/gateway/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret returns the n-th key of these tests.
func secret(n byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{n}, keySize))
}

// line returns a line of a key file with the n-th key.
func line(id, from string, n byte) string { return fmt.Sprintf("%s %s %s\n", id, from, secret(n)) }

const (
	past   = "2020-01-01T00:00:00Z"
	recent = "2021-01-01T00:00:00Z"
	future = "2999-01-01T00:00:00Z"
)

func write(t *testing.T, name string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sealer returns one with a file of these lines.
func sealer(t *testing.T, lines ...string) *Sealer {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	write(t, name, lines...)
	s, err := New(Options{File: name, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSeal(t *testing.T, s *Sealer, recordKey, value string) []byte {
	t.Helper()
	sealed, err := s.Seal(recordKey, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// opens expects a sealed value to open, or to fail with an error.
func opens(t *testing.T, s *Sealer, recordKey string, sealed []byte, want string, wantErr error) {
	t.Helper()
	value, err := s.Open(recordKey, sealed)
	if string(value) != want || !errors.Is(err, wantErr) {
		t.Errorf("open %s: %q, error %v; want %q, error %v", recordKey, value, err, want, wantErr)
	}
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	s := sealer(t, line("k1", past, 1))
	for _, value := range []string{"", "x", "hunter2-hunter2", strings.Repeat("v", MaxValue)} {
		sealed := mustSeal(t, s, "sealed/a", value)
		opens(t, s, "sealed/a", sealed, value, nil)
		if len(value) > 8 && bytes.Contains(sealed, []byte(value[:8])) {
			t.Error("the value can be read where it is sealed")
		}
		if len(sealed)-len(value) > Overhead || len(sealed) > store.MaxValue {
			t.Errorf("%d bytes became %d", len(value), len(sealed))
		}
		if bytes.Equal(sealed, mustSeal(t, s, "sealed/a", value)) {
			t.Error("the same value is sealed the same twice")
		}
	}
	if _, err := s.Seal("sealed/a", make([]byte, MaxValue+1)); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a value that is too large: error %v", err)
	}
	longest := sealer(t, line(strings.Repeat("k", maxID), past, 1))
	if got := len(mustSeal(t, longest, "sealed/a", "")); got != Overhead {
		t.Errorf("the overhead is %d, not %d", got, Overhead)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	s := sealer(t, line("k1", past, 1), line("k2", past, 2))
	sealed := mustSeal(t, s, "sealed/a", "value")
	opens(t, s, "sealed/b", sealed, "", ErrBroken) // moved to another record
	opens(t, s, "", sealed, "", ErrBroken)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if value, err := s.Open("sealed/a", changed); !errors.Is(err, ErrBroken) && !errors.Is(err, ErrMissingKey) {
			t.Errorf("byte %d is changed: %q, error %v", i, value, err)
		}
		opens(t, s, "sealed/a", sealed[:i], "", ErrBroken)
	}
	opens(t, s, "sealed/a", append(bytes.Clone(sealed), 0), "", ErrBroken)
	opens(t, s, "sealed/a", []byte(`{"name":"plain"}`), "", ErrBroken)

	// The same id with another key, as in the file of another installation.
	opens(t, sealer(t, line("k2", past, 3)), "sealed/a", sealed, "", ErrBroken)
	opens(t, sealer(t, line("k1", past, 2)), "sealed/a", sealed, "", ErrMissingKey)

	other := sealer(t, line("k3", past, 3))
	_, err := other.Open("sealed/a", sealed)
	if !errors.Is(err, ErrMissingKey) || !strings.Contains(err.Error(), "put the line of the key k2 back into "+other.File) {
		t.Errorf("error %v", err)
	}
}

func TestWhichKeySeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01
		now := time.Now().UTC()
		at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
		s := sealer(t, line("next", at(time.Hour), 3), line("old", at(-2*time.Hour), 1), line("new", at(-time.Hour), 2), line("later", at(2*time.Hour), 4))
		early := sealer(t, line("b", at(2*time.Hour), 2), line("a", at(time.Hour), 1))
		if s.Current() != "new" || early.Current() != "a" {
			t.Errorf("%s and %s seal", s.Current(), early.Current())
		}
		sealed := mustSeal(t, s, "sealed/a", "value")
		time.Sleep(time.Hour)
		if s.Current() != "next" || early.Current() != "a" {
			t.Errorf("an hour later, %s and %s seal", s.Current(), early.Current())
		}
		opens(t, s, "sealed/a", sealed, "value", nil)
		if id, _, _, err := split(mustSeal(t, s, "sealed/a", "value")); id != "next" || err != nil {
			t.Errorf("it is sealed under %s, %v", id, err)
		}
	})
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		content string
		want    string // part of the error; "" for none
	}{
		{"one key", line("k1", past, 1), ""},
		{"comments, empty lines, tabs, CRLF, no newline at the end", "# keys\n\n\t k1\t" + past + "\t" + secret(1) + "\r\n" + strings.TrimSpace(line("k2", future, 2)), ""},
		{"nothing", "", "no key"},
		{"comments only", "# " + line("k1", past, 1), "no key"},
		{"an id of other characters", line("K_1", past, 1), "line 1: an id"},
		{"an id that is too long", line(strings.Repeat("k", maxID+1), past, 1), "line 1: an id"},
		{"a time of another form", line("k1", "2020-01-01", 1), "line 1: the key k1 must seal from a time"},
		{"no time", "k1 " + secret(1), "it has 2 words"},
		{"a word too many", "k1 " + past + " " + secret(1) + " " + secret(2), "it has 4 words"},
		{"a key that is too short", "\nk1 " + past + " " + base64.StdEncoding.EncodeToString(make([]byte, 16)), "line 2: the key k1 must be 32 bytes"},
		{"a key that is too long", "k1 " + past + " " + base64.StdEncoding.EncodeToString(make([]byte, 33)), "must be 32 bytes"},
		{"a key that is not base64", "k1 " + past + " " + strings.Repeat("!", 44), "must be 32 bytes"},
		{"the same id twice", line("k1", past, 1) + line("k1", recent, 2), "line 2: the id k1 is there already"},
		{"the same key twice", line("k1", past, 1) + line("k2", recent, 1), "line 2: the key of k2 is there already"},
		{"a file that is too large", strings.Repeat("#\n", maxFileSize), "more than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "keys")
			write(t, name, tt.content)
			_, err := New(Options{File: name, Logger: slog.New(slog.DiscardHandler)})
			if tt.want == "" && err != nil {
				t.Errorf("error %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), name)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), secret(1)[:8]) {
				t.Errorf("the error holds a key: %v", err)
			}
		})
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01
		s := sealer(t, line("k1", "1999-01-01T00:00:00Z", 1))
		var outcomes []error
		s.Reloaded = func(err error) { outcomes = append(outcomes, err) }
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- s.Follow(ctx) }()
		sealed := mustSeal(t, s, "sealed/a", "value")
		expect := func(current string, reloads int, failed bool) {
			t.Helper()
			time.Sleep(3 * pollInterval)
			synctest.Wait()
			if s.Current() != current || len(outcomes) != reloads || reloads > 0 && failed != (outcomes[reloads-1] != nil) {
				t.Errorf("%s seals after %d reloads: %v", s.Current(), len(outcomes), outcomes)
			}
		}
		expect("k1", 0, false)
		write(t, s.File, line("k1", "1999-01-01T00:00:00Z", 1), line("k2", "1999-06-01T00:00:00Z", 2))
		expect("k2", 1, false)
		opens(t, s, "sealed/a", sealed, "value", nil)
		write(t, s.File, "half a li")
		expect("k2", 2, true)
		if err := os.Remove(s.File); err != nil {
			t.Fatal(err)
		}
		expect("k2", 3, true)
		opens(t, s, "sealed/a", sealed, "value", nil)
		write(t, s.File, line("k1", "1999-01-01T00:00:00Z", 1), line("k2", "1999-06-01T00:00:00Z", 2))
		expect("k2", 4, false)
		write(t, s.File, line("k3", "1999-01-01T00:00:00Z", 3))
		expect("k3", 5, false)
		opens(t, s, "sealed/a", sealed, "", ErrMissingKey)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	keys, err := parse([]byte(line("k1", past, 1)))
	if err != nil {
		f.Fatal(err)
	}
	s := &Sealer{}
	s.keys.Store(keys)
	sealed, err := s.Seal("sealed/a", []byte("value"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{envelopeVersion, 2, 'k', '1'})
	f.Add([]byte{envelopeVersion, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Nobody who lacks the key makes a value that opens.
		if value, err := s.Open("sealed/b", data); err == nil {
			t.Errorf("%x opens as %q", data, value)
		}
	})
}
