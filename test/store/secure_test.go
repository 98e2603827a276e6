package store_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/etcd"
	"github.com/gatepass/gatepass/gateway/store/storetest"
	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/process"
)

const (
	rootPassword = "root-password-of-a-test"
	userPassword = "user-password-of-a-test"
)

// secure is an etcd with certificates on both sides, users and roles.
type secure struct {
	*server

	ca      *pki.CA
	dir     string // of the server's certificate
	client  string // folder of the client's
	options etcd.Options
}

func startSecure(t *testing.T, args ...string) *secure {
	t.Helper()
	s := &secure{dir: t.TempDir(), client: t.TempDir()}
	s.issue(t)
	s.server = startServer(t, append([]string{
		"--cert-file=" + filepath.Join(s.dir, "tls.crt"),
		"--key-file=" + filepath.Join(s.dir, "tls.key"),
		"--trusted-ca-file=" + filepath.Join(s.dir, "ca.crt"),
		"--client-cert-auth",
	}, args...)...)
	s.options = etcd.Options{
		TLS: etcd.TLS{
			CAFile:   filepath.Join(s.client, "ca.crt"),
			CertFile: filepath.Join(s.client, "tls.crt"),
			KeyFile:  filepath.Join(s.client, "tls.key"),
		},
		Username: "gatepass",
		Password: userPassword,
	}
	s.enableAuth(t)
	return s
}

// issue makes an authority and certificates of both sides.
func (s *secure) issue(t *testing.T) {
	t.Helper()
	s.ca = must(pki.NewCA("etcd"))(t)
	for dir, pair := range map[string]pki.Pair{
		s.dir:    must(s.ca.Server("127.0.0.1"))(t),
		s.client: must(s.ca.Client("gatepass-gateway"))(t),
	} {
		if _, _, err := pair.Write(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ca.crt"), s.ca.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// administrator is etcd's own client; a user is possible once there are users.
func (s *secure) administrator(t *testing.T, user, password string) *clientv3.Client {
	t.Helper()
	pair := must(tls.LoadX509KeyPair(s.options.TLS.CertFile, s.options.TLS.KeyFile))(t)
	c := must(clientv3.New(clientv3.Config{
		Endpoints: []string{s.endpoint()}, Logger: zap.NewNop(), Username: user, Password: password, DialTimeout: await.Patience,
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.ca.Pool(), Certificates: []tls.Certificate{pair}},
	}))(t)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// enableAuth gives the user gatepass the tests' prefixes and nothing else.
func (s *secure) enableAuth(t *testing.T) {
	t.Helper()
	c := s.administrator(t, "", "")
	ctx, cancel := context.WithTimeout(t.Context(), await.Patience)
	defer cancel()
	must(c.UserAdd(ctx, "root", rootPassword))(t)
	must(c.UserGrantRole(ctx, "root", "root"))(t)
	must(c.RoleAdd(ctx, "gatepass"))(t)
	grant(t, c)
	must(c.UserAdd(ctx, "gatepass", userPassword))(t)
	must(c.UserGrantRole(ctx, "gatepass", "gatepass"))(t)
	must(c.AuthEnable(ctx))(t)
}

const testPrefix = "/test-"

func grant(t *testing.T, c *clientv3.Client) {
	t.Helper()
	must(c.RoleGrantPermission(t.Context(), "gatepass", testPrefix, clientv3.GetPrefixRangeEnd(testPrefix), clientv3.PermissionType(clientv3.PermReadWrite)))(t)
}

func TestContractOverTLSAsAUser(t *testing.T) {
	t.Parallel()
	s := startSecure(t)
	storetest.Run(t, func(t *testing.T) store.Store { return s.open(t, s.options) })
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	s := startSecure(t)
	stranger := t.TempDir()
	foreign := must(must(pki.NewCA("stranger"))(t).Client("gatepass-gateway"))(t)
	cert, key, err := foreign.Write(stranger)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*etcd.Options)
		want   string
	}{
		{"a wrong password", func(o *etcd.Options) { o.Password = "guessed-password" }, `the password of user "gatepass" is another`},
		{"an unknown user", func(o *etcd.Options) { o.Username = "nobody" }, `the password of user "nobody" is another`},
		{"no user", func(o *etcd.Options) { o.Username, o.Password = "", "" }, "takes the common name of the client certificate for the user"},
		{"a prefix of others", func(o *etcd.Options) { o.Prefix = "/others/" }, `grant the user "gatepass" the right readwrite on the prefix /others/`},
		{"an etcd of an unknown authority", func(o *etcd.Options) { o.TLS.CAFile = cert }, "certificate signed by unknown authority"},
		{"no client certificate", func(o *etcd.Options) { o.TLS.CertFile, o.TLS.KeyFile = "", "" }, "etcd seems not to accept the client certificate"},
		{"a client certificate of an unknown authority", func(o *etcd.Options) { o.TLS.CertFile, o.TLS.KeyFile = cert, key }, "etcd seems not to accept the client certificate"},
		{"a certificate without its key", func(o *etcd.Options) { o.TLS.KeyFile = "" }, "needs its key"},
		{"a file that is missing", func(o *etcd.Options) { o.TLS.CAFile = "/missing" }, "/missing"},
		{"a file that holds no certificate", func(o *etcd.Options) { o.TLS.CAFile = key }, "holds no certificate"},
		{"a password in clear text", func(o *etcd.Options) { o.Endpoints, o.TLS = []string{"http://127.0.0.1:1"}, etcd.TLS{} }, "clear text"},
		{"certificates without TLS", func(o *etcd.Options) { o.Endpoints = []string{"http://127.0.0.1:1"} }, "https endpoints only"},
		{"an endpoint without a scheme", func(o *etcd.Options) { o.Endpoints = []string{"127.0.0.1:2379"} }, "must look like"},
		{"endpoints with and without TLS", func(o *etcd.Options) { o.Endpoints = []string{"http://127.0.0.1:1", "https://127.0.0.1:1"} }, "all https or all http"},
		{"no endpoint", func(o *etcd.Options) { o.Endpoints = nil }, "at least one endpoint"},
		{"a user without a password", func(o *etcd.Options) { o.Password = "" }, "needs a password"},
		{"a prefix without an end", func(o *etcd.Options) { o.Prefix = "/test-1" }, "must end in a slash"},
		{"an etcd that is not there", func(o *etcd.Options) { o.Endpoints = []string{"https://127.0.0.1:1"} }, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := s.options
			o.Endpoints, o.Prefix, o.DialTimeout = []string{s.endpoint()}, newPrefix(), 3*time.Second
			o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
			tt.change(&o)
			st, err := etcd.Open(t.Context(), o)
			if err == nil {
				_ = st.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "-password") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// Authority and certificates of both sides are replaced, as they are when the old
// authority's key is lost.
func TestCertificatesAreReplaced(t *testing.T) {
	t.Parallel()
	s := startSecure(t)
	st := s.open(t, s.options)
	start := must(st.Commit(t.Context(), store.Create("a", []byte("1"))))(t)
	events := follow(t, st, start)
	s.kill(t)
	s.issue(t)
	s.restart(t)
	await.Until(t, "a commit with the new certificates", func() bool {
		_, err := st.Commit(t.Context(), store.Put("a", []byte("2")))
		return err == nil
	})
	if got := next(t, events); got != "2" {
		t.Errorf("the watcher got %q", got)
	}
	// A file that can't be used leaves the last good ones in use.
	if err := os.WriteFile(s.options.TLS.CertFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.kill(t)
	s.restart(t)
	await.Until(t, "a commit with the last good certificate", func() bool {
		_, err := st.Commit(t.Context(), store.Put("a", []byte("3")))
		return err == nil
	})
}

// A watch that etcd refuses begins when it does not any more, and misses nothing.
func TestWatchIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := startSecure(t)
	logs := &process.Logs{}
	o := s.options
	o.Logger = slog.New(slog.NewTextHandler(logs, nil))
	st := s.open(t, o)
	start := must(st.Commit(t.Context(), store.Create("a", []byte("1"))))(t)
	must(st.Commit(t.Context(), store.Put("a", []byte("2"))))(t)
	root := s.administrator(t, "root", rootPassword)
	must(root.RoleRevokePermission(t.Context(), "gatepass", testPrefix, clientv3.GetPrefixRangeEnd(testPrefix)))(t)
	events := follow(t, st, start)
	await.Until(t, "the watch is refused", func() bool { return strings.Contains(logs.String(), "grant the user") }, logs.String)
	grant(t, root)
	if got := next(t, events); got != "2" {
		t.Errorf("the watcher got %q", got)
	}
}
