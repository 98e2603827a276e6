package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/gatepass/gatepass/gateway/store/etcd"
	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/process"
)

// server is an etcd that can be killed and started again with what it had.
type server struct {
	guard   *process.Guard
	process *process.Process
	args    []string // besides the ports
	scheme  string
	ports   *process.Ports // for clients, peers and metrics, also while it is away
}

// startServer runs an etcd until the test ends. The arguments are for TLS, which
// makes clients use https.
func startServer(tb testing.TB, args ...string) *server {
	tb.Helper()
	guard := must(process.NewGuard())(tb)
	s := &server{guard: guard, ports: must(process.ReservePorts(3))(tb), args: args, scheme: "http"}
	for _, arg := range args {
		if strings.HasPrefix(arg, "--cert-file=") {
			s.scheme = "https"
		}
	}
	tb.Cleanup(func() {
		if s.process != nil {
			_ = s.process.Kill() // it has no data worth an orderly end
		}
		if err := errors.Join(guard.Release(), s.ports.Close()); err != nil {
			tb.Error(err)
		}
	})
	if err := s.run(); err != nil {
		tb.Fatal(err)
	}
	return s
}

func (s *server) url(scheme string, port int) string {
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, s.ports.Numbers[port])
}

// endpoint is where clients find the server.
func (s *server) endpoint() string { return s.url(s.scheme, 0) }

// run starts the process and waits until it is ready.
func (s *server) run() error {
	args := append([]string{
		"--data-dir=" + filepath.Join(s.guard.Dir(), "data"),
		"--listen-client-urls=" + s.endpoint(),
		"--advertise-client-urls=" + s.endpoint(),
		"--listen-peer-urls=" + s.url("http", 1),
		"--initial-advertise-peer-urls=" + s.url("http", 1),
		"--initial-cluster=default=" + s.url("http", 1),
		"--listen-metrics-urls=" + s.url("http", 2),
		"--unsafe-no-fsync", // the machine does not crash, the process does
		"--log-level=warn",
	}, s.args...)
	var err error
	s.process, err = process.Start(process.Options{Name: "etcd", Path: etcdBinary, Args: args, Guard: s.guard})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	return s.process.WaitReady(ctx, s.url("http", 2)+"/health")
}

func (s *server) kill(tb testing.TB) {
	tb.Helper()
	if err := s.process.Kill(); err != nil {
		tb.Fatal(err)
	}
}

func (s *server) restart(tb testing.TB) {
	tb.Helper()
	if err := s.run(); err != nil {
		tb.Fatal(err)
	}
}

// client is etcd's own, to do what the store does not.
func (s *server) client(tb testing.TB) *clientv3.Client {
	tb.Helper()
	c := must(clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint()}, Logger: zap.NewNop()}))(tb)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// prefixes numbers the stores of all tests.
var prefixes atomic.Int64

func newPrefix() string { return fmt.Sprintf("/test-%d/", prefixes.Add(1)) }

// open opens a store. What the options don't say is that of a plain server.
func (s *server) open(tb testing.TB, o etcd.Options) *etcd.Store {
	tb.Helper()
	o.Endpoints = []string{s.endpoint()}
	if o.Prefix == "" {
		o.Prefix = newPrefix()
	}
	o.DialTimeout = 20 * time.Second // tests run side by side
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(tb.Output(), nil))
	}
	st, err := etcd.Open(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	return st
}
