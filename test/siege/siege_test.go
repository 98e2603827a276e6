// Package siege_test runs the real webhook and the real gateway while strangers lean on
// them, and holds that their friends are served meanwhile, and what memory that takes.
package siege_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
	"github.com/gatepass/gatepass/test/repo"
)

const (
	// Strangers come from other addresses of the loopback network than friends.
	friend, stranger = "127.0.0.1", "127.0.0.2"

	// attackTime is how long an attack goes on while friends are served.
	attackTime = 2500 * time.Millisecond
	// pause is between what one stranger does: what is tested is the server, on a machine
	// that it shares with them.
	pause = 100 * time.Millisecond
	// patience is how long a friend waits: what an API server's timeoutSeconds is by default.
	patience = 10 * time.Second

	// leastServed is how many of a hundred friends have to be served.
	leastServed = 99
	// The resident memory of the servers at any time, in bytes. The gateway collects
	// garbage lazily on purpose, see cmd/gatepass-gateway; its container has 256 MiB.
	mostOfWebhook = 128 << 20
	mostOfGateway = 256 << 20
)

var commands *product.Product

func TestMain(m *testing.M) {
	var err error
	if commands, err = product.New(context.Background(), product.Webhook, product.Gateway); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := commands.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// memoryLimit is the GOMEMLIMIT that a deployment in manifests/ has.
func memoryLimit(t *testing.T, part string) string {
	t.Helper()
	root := must(repo.Root())(t)
	text := must(os.ReadFile(filepath.Join(root, "manifests", "base", part, "deployment.yaml")))(t)
	found := regexp.MustCompile(`GOMEMLIMIT, value: (\w+)}`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("the deployment of the %s has no GOMEMLIMIT", part)
	}
	return "GOMEMLIMIT=" + string(found[1])
}

// certificates writes those of a server into a folder.
func certificates(t *testing.T) (dir string, trust *tls.Config) {
	t.Helper()
	ca := must(pki.NewCA("siege"))(t)
	pair := must(ca.Server(friend))(t)
	dir = t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "tls.crt"), pair.Cert, 0o600), os.WriteFile(filepath.Join(dir, "tls.key"), pair.Key, 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir, &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"http/1.1"}, ServerName: friend}
}

// peak is the most memory that a process has had resident, in bytes (VmHWM of
// proc_pid_status(5)).
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	status := must(os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)))(t)
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	return must(strconv.ParseInt(string(found[1]), 10, 64))(t) << 10
}

// target is a server under attack.
type target struct {
	*product.Server
	trust *tls.Config
	most  int64 // memory
	// pace is how often a friend comes.
	pace time.Duration
}

func (s *target) at() string { return net.JoinHostPort(s.Address, strconv.Itoa(s.Port)) }

// siege are the strangers' goroutines and connections; all end with it.
type siege struct {
	target *target
	ctx    context.Context //nolint:containedctx // it is the attack's life
	wait   sync.WaitGroup
	// done counts the strangers' connections, to tell that they had some.
	done atomic.Int64

	mu    sync.Mutex
	conns []net.Conn
	over  bool
}

// hold closes a connection with the siege. It reports false if that is over.
func (s *siege) hold(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		_ = conn.Close()
		return false
	}
	s.conns = append(s.conns, conn)
	return true
}

// dial connects from a stranger's address, and lets go of a connection that can't be.
func (s *siege) dial(from string, encrypted bool) (net.Conn, bool) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := dialer.DialContext(s.ctx, "tcp", s.target.at())
	if err != nil || !s.hold(conn) {
		return nil, false
	}
	if !encrypted {
		s.done.Add(1)
		return conn, true
	}
	over := tls.Client(conn, s.target.trust)
	if over.HandshakeContext(s.ctx) != nil {
		_ = conn.Close()
		return nil, false
	}
	s.done.Add(1)
	return over, true
}

// each runs strangers side by side, again and again until the siege is over.
func (s *siege) each(strangers int, act func(n int)) {
	for n := range strangers {
		s.wait.Go(func() {
			for s.ctx.Err() == nil {
				act(n)
				select {
				case <-s.ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
}

// once runs strangers side by side, each once, and returns when all are done.
func (s *siege) once(strangers int, act func(n int)) {
	var all sync.WaitGroup
	work := make(chan int)
	for range 32 {
		all.Go(func() {
			for n := range work {
				act(n)
			}
		})
	}
	for n := range strangers {
		work <- n
	}
	close(work)
	all.Wait()
}

func (s *siege) end() {
	s.mu.Lock()
	s.over = true
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.wait.Wait()
}

// withstand serves friends while strangers attack, and checks what comes of it. A friend
// reports whether it was served.
func (s *target) withstand(t *testing.T, attack func(*siege), friend func(context.Context, *http.Client) error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.trust, MaxIdleConnsPerHost: 25}, Timeout: patience}
	defer client.CloseIdleConnections()
	if err := friend(t.Context(), client); err != nil {
		t.Fatalf("a friend is not served before the attack: %v", err)
	}
	before := peak(t, s.PID())
	ctx, stop := context.WithCancel(t.Context())
	under := &siege{target: s, ctx: ctx}
	defer func() {
		stop()
		under.end()
	}()
	attack(under)

	var friends sync.WaitGroup
	var came, served atomic.Int64
	var first atomic.Pointer[error]
	tick := time.NewTicker(s.pace)
	defer tick.Stop()
	for end := time.Now().Add(attackTime); time.Now().Before(end); <-tick.C {
		came.Add(1)
		friends.Go(func() {
			if err := friend(t.Context(), client); err != nil {
				first.CompareAndSwap(nil, &err)
				return
			}
			served.Add(1)
		})
	}
	friends.Wait()
	after := peak(t, s.PID())
	t.Logf("%d of %d friends were served while strangers had %d connections; resident memory rose from %d to %d MiB",
		served.Load(), came.Load(), under.done.Load(), before>>20, after>>20)
	if served.Load()*100 < came.Load()*leastServed {
		t.Errorf("%d of %d friends were served; the first that was not: %v", served.Load(), came.Load(), *first.Load())
	}
	if after > s.most {
		t.Errorf("the server took %d MiB", after>>20)
	}
	if under.done.Load() == 0 {
		t.Error("there was no attack")
	}
}

// answered reads an answer's status and body.
func answered(client *http.Client, request *http.Request) (int, http.Header, []byte, error) {
	res, err := client.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, body, err
}

// connections is how many the machine lets a test and its server have, at most the number
// that is wanted.
func connections(t *testing.T, wanted int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := min(wanted, int(min(limit.Cur, 1<<20))-500)
	if n < 1000 {
		t.Fatalf("a process may have %d files open, too few for this test; raise it with ulimit -n", limit.Cur)
	}
	return n
}
