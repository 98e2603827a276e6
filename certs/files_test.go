package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mount is a folder as the kubelet makes it for a Secret: the files are
// symbolic links into ..data, which is a symbolic link to a dated folder and is
// swapped as a whole.
type mount struct {
	dir     string
	version int
}

func newMount(t *testing.T, pair *tls.Certificate) *mount {
	t.Helper()
	m := &mount{dir: t.TempDir()}
	m.swap(t, certPEM(pair.Leaf), keyPEM(t, pair))
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *mount) swap(t *testing.T, crt, key []byte) {
	t.Helper()
	m.version++
	name := "..version_" + strconv.Itoa(m.version)
	dir := filepath.Join(m.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.crt"), crt)
	write(t, filepath.Join(dir, "tls.key"), key)
	data := filepath.Join(m.dir, "..data")
	old, _ := os.Readlink(data)
	if err := os.Symlink(name, data+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(data+"_tmp", data); err != nil {
		t.Fatal(err)
	}
	if old != "" {
		if err := os.RemoveAll(filepath.Join(m.dir, old)); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *mount) crt() string { return filepath.Join(m.dir, "tls.crt") }
func (m *mount) key() string { return filepath.Join(m.dir, "tls.key") }

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func servedSerial(t *testing.T, f *Files) string {
	t.Helper()
	pair, err := f.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.SerialNumber.String()
}

// filesTest is a running Files and what it reported.
type filesTest struct {
	*Files
	mount *mount

	mu   sync.Mutex
	seen []error
	text bytes.Buffer
}

// Write makes it the logger's output.
func (ft *filesTest) Write(p []byte) (int, error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	return ft.text.Write(p)
}

func (ft *filesTest) log() string {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	return ft.text.String()
}

func (ft *filesTest) report(err error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	ft.seen = append(ft.seen, err)
}

func (ft *filesTest) reports() []error {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	return slices.Clone(ft.seen)
}

func startFiles(t *testing.T, pair *tls.Certificate) *filesTest {
	t.Helper()
	ft := &filesTest{mount: newMount(t, pair)}
	files, err := NewFiles(ft.mount.crt(), ft.mount.key())
	if err != nil {
		t.Fatal(err)
	}
	files.Logger = slog.New(slog.NewTextHandler(ft, nil))
	files.OnReload = ft.report
	ft.Files = files
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- files.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Start: %v", err)
		}
	})
	return ft
}

// pass lets time pass in a synctest bubble, where nobody waits for it.
func pass(d time.Duration) { <-time.After(d) }

// polls lets n polls happen.
func polls(n int) {
	pass(time.Duration(n) * pollInterval)
	synctest.Wait()
}

func TestFilesFollowsASwappedFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ca := newTestCA(t, "ca", now.Add(-time.Hour), now.Add(time.Hour))
		first := ca.leaf(t, now.Add(-time.Minute), now.Add(time.Hour), "a")
		ft := startFiles(t, first)
		for i := range 3 {
			next := ca.leaf(t, now.Add(-time.Minute), now.Add(time.Duration(2+i)*time.Hour), "a")
			ft.mount.swap(t, certPEM(next.Leaf), keyPEM(t, next))
			polls(1)
			if got, want := servedSerial(t, ft.Files), next.Leaf.SerialNumber.String(); got != want {
				t.Fatalf("swap %d: serving %s, want %s", i, got, want)
			}
			if got := ft.NotAfter(); !got.Equal(next.Leaf.NotAfter) {
				t.Errorf("swap %d: NotAfter %s, want %s", i, got, next.Leaf.NotAfter)
			}
		}
		if len(ft.reports()) != 3 {
			t.Errorf("reports %v, want three successes", ft.reports())
		}
	})
}

func TestFilesKeepsTheLastGoodPair(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a synctest bubble begins
	ca := newTestCA(t, "ca", now.Add(-time.Hour), now.Add(time.Hour))
	good := ca.leaf(t, now.Add(-time.Minute), now.Add(time.Hour), "a")
	other := ca.leaf(t, now.Add(-time.Minute), now.Add(time.Hour), "a")
	expired := ca.leaf(t, now.Add(-time.Hour), now.Add(-time.Minute), "a")
	for _, test := range []struct {
		name     string
		crt, key []byte
		want     string
	}{
		{"a mismatched pair is refused", certPEM(other.Leaf), keyPEM(t, good), "not a certificate and its key"},
		{"an empty certificate is refused", nil, keyPEM(t, good), "not a certificate and its key"},
		{"an empty key is refused", certPEM(good.Leaf), nil, "not a certificate and its key"},
		{"garbage is refused", []byte("garbage"), []byte("garbage"), "not a certificate and its key"},
		{"a huge file is refused", bytes.Repeat([]byte("x"), maxFileSize+1), keyPEM(t, good), "larger than 1 MiB"},
		{"an expired pair is refused", certPEM(expired.Leaf), keyPEM(t, expired), "expired at"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ft := startFiles(t, good)
				ft.mount.swap(t, test.crt, test.key)
				polls(1)
				if len(ft.reports()) != 0 {
					t.Errorf("the first failed read was reported: %v", ft.reports())
				}
				polls(1)
				if len(ft.reports()) != 1 || ft.reports()[0] == nil || !strings.Contains(ft.reports()[0].Error(), test.want) {
					t.Fatalf("reports %v, want one with %q", ft.reports(), test.want)
				}
				if !strings.Contains(ft.log(), "level=ERROR") {
					t.Errorf("nothing loud in the log: %s", ft.log())
				}
				if strings.Contains(ft.log(), "PRIVATE KEY") {
					t.Errorf("the log holds a key")
				}
				polls(int(complainInterval / pollInterval))
				if len(ft.reports()) != 2 {
					t.Errorf("%d reports after another minute, want 2", len(ft.reports()))
				}
				if got := servedSerial(t, ft.Files); got != good.Leaf.SerialNumber.String() {
					t.Errorf("serving %s, not the last good one", got)
				}
				if err := ft.Ready(); err != nil {
					t.Errorf("Ready: %v", err)
				}
				ft.mount.swap(t, certPEM(other.Leaf), keyPEM(t, other))
				polls(1)
				if got := servedSerial(t, ft.Files); got != other.Leaf.SerialNumber.String() {
					t.Errorf("serving %s after the repair, want the new one", got)
				}
			})
		})
	}
}

func TestFilesThatVanishAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ca := newTestCA(t, "ca", now.Add(-time.Hour), now.Add(time.Hour))
		good := ca.leaf(t, now.Add(-time.Minute), now.Add(time.Hour), "a")
		ft := startFiles(t, good)
		if err := os.Remove(ft.mount.key()); err != nil {
			t.Fatal(err)
		}
		polls(2)
		if len(ft.reports()) != 1 || ft.reports()[0] == nil {
			t.Errorf("reports %v, want one failure", ft.reports())
		}
		if got := servedSerial(t, ft.Files); got != good.Leaf.SerialNumber.String() {
			t.Errorf("serving %s, not the last good one", got)
		}
	})
}

func TestFilesTakeANewChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ca := newTestCA(t, "ca", now.Add(-time.Hour), now.Add(time.Hour))
		good := ca.leaf(t, now.Add(-time.Minute), now.Add(time.Hour), "a")
		ft := startFiles(t, good)
		ft.mount.swap(t, append(certPEM(good.Leaf), ca.pem()...), keyPEM(t, good))
		polls(1)
		pair, err := ft.GetCertificate(nil)
		if err != nil || len(pair.Certificate) != 2 {
			t.Errorf("chain of %d, error %v; want the new chain of 2", len(pair.Certificate), err)
		}
	})
}

func TestFilesReadyTellsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ca := newTestCA(t, "ca", now.Add(-time.Hour), now.Add(time.Hour))
		ft := startFiles(t, ca.leaf(t, now.Add(-time.Minute), now.Add(time.Hour), "a"))
		if err := ft.Ready(); err != nil {
			t.Errorf("Ready: %v", err)
		}
		pass(time.Hour + time.Second)
		if err := ft.Ready(); err == nil || !strings.Contains(err.Error(), "expired at") {
			t.Errorf("Ready: %v, want the expiry", err)
		}
	})
}

func TestNewFilesRefusesWhatItCannotServe(t *testing.T) {
	now := time.Now()
	ca := newTestCA(t, "ca", now.Add(-time.Hour), now.Add(time.Hour))
	a, b := ca.leaf(t, now, now.Add(time.Hour), "a"), ca.leaf(t, now, now.Add(time.Hour), "b")
	dir := t.TempDir()
	crt, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if _, err := NewFiles(crt, key); err == nil || !strings.Contains(err.Error(), crt) {
		t.Errorf("missing files: %v, want an error that names the file", err)
	}
	write(t, crt, certPEM(a.Leaf))
	write(t, key, keyPEM(t, b))
	if _, err := NewFiles(crt, key); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("mismatched pair: %v, want an error that names the files", err)
	}
}

func TestFilesServeWhileTheyChange(t *testing.T) {
	now := time.Now()
	ca := newTestCA(t, "ca", now.Add(-time.Hour), now.Add(time.Hour))
	pairs := []*tls.Certificate{
		ca.leaf(t, now.Add(-time.Minute), now.Add(time.Hour), "a"),
		ca.leaf(t, now.Add(-time.Minute), now.Add(time.Hour), "a"),
	}
	m := newMount(t, pairs[0])
	files, err := NewFiles(m.crt(), m.key())
	if err != nil {
		t.Fatal(err)
	}
	files.Logger = slog.New(slog.DiscardHandler)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 500 {
			pair, err := files.GetCertificate(nil)
			if err != nil || files.Ready() != nil {
				t.Errorf("GetCertificate: %v, Ready: %v", err, files.Ready())
				return
			}
			if serial := pair.Leaf.SerialNumber; serial.Cmp(pairs[0].Leaf.SerialNumber) != 0 && serial.Cmp(pairs[1].Leaf.SerialNumber) != 0 {
				t.Errorf("an unknown certificate is served")
			}
		}
	}()
	for i := range 20 {
		next := pairs[(i+1)%2]
		m.swap(t, certPEM(next.Leaf), keyPEM(t, next))
		if changed, err := files.reload(); err != nil || !changed {
			t.Errorf("reload %d: changed %t, error %v", i, changed, err)
		}
	}
	<-done
}
