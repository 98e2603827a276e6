package review

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

// tunnels is a proxy (RFC 9110, section 9.3.6), and counts what it has connected.
func tunnels(t *testing.T, count *atomic.Int64) *url.URL {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			t.Errorf("the proxy sees %s %s", r.Method, r.URL)
			return
		}
		server, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = server.Close() }()
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = client.Close() }()
		count.Add(1)
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		}()
		_, _ = io.Copy(client, server)
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestReviewThroughAProxy(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(answers(201, `{"kind":"TokenReview","status":{"authenticated":true,"user":{"username":"u"}}}`))
	t.Cleanup(server.Close)
	var tunnelled atomic.Int64
	config := &rest.Config{Host: server.URL, Proxy: http.ProxyURL(tunnels(t, &tunnelled))}
	config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	client, err := New(Options{Config: config, AnyIssuer: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for range 2 {
		if user, err := client.Review(t.Context(), token, "a"); err != nil || user.Username != "u" {
			t.Fatalf("user %+v, error %v", user, err)
		}
	}
	if got := tunnelled.Load(); got != 1 {
		t.Errorf("%d connections through the proxy", got)
	}
}

func TestNewRefusesAProxyThatCanNotBeFound(t *testing.T) {
	t.Parallel()
	config := &rest.Config{Host: "https://x", Proxy: func(*http.Request) (*url.URL, error) { return nil, errors.New("bad proxy") }}
	if _, err := New(Options{Config: config}); err == nil {
		t.Error("a client without its proxy")
	}
}

func TestWhereConnectionsGo(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"https://api.example":      "api.example:443",
		"https://api.example:6443": "api.example:6443",
		"https://[::1]":            "[::1]:443",
		"https://[::1]:6443/sub":   "[::1]:6443",
	} {
		var dialled string
		config := &rest.Config{Host: host, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = address
			return nil, errors.New("nobody is there")
		}}
		client, err := New(Options{Config: config, AnyIssuer: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Review(t.Context(), token, "a"); err == nil || !strings.Contains(err.Error(), "nobody is there") || dialled != want {
			t.Errorf("%s: %q was dialled: %v", host, dialled, err)
		}
		client.Close()
	}
}

func TestNewRefusesEmptyFiles(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]rest.TLSClientConfig{
		"a client certificate": {CertFile: empty, KeyFile: empty},
		"a CA":                 {CAFile: empty},
	} {
		if _, err := New(Options{Config: &rest.Config{Host: "https://x", TLSClientConfig: files}}); err == nil {
			t.Errorf("%s that is empty is taken", name)
		}
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("of-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		config rest.Config
		self   bool
		want   string
	}{
		{"a token in a file", rest.Config{BearerTokenFile: file}, false, "Bearer of-file"},
		{"a token", rest.Config{BearerToken: "given"}, false, "Bearer given"},
		{"both, of which the file is newer", rest.Config{BearerToken: "given", BearerTokenFile: file}, false, "Bearer of-file"},
		{"both, and the file is gone", rest.Config{BearerToken: "given", BearerTokenFile: file + "x"}, false, "Bearer given"},
		{"a password", rest.Config{Username: "u", Password: "p"}, false, "Basic dTpw"},
		{"a token that reviews itself", rest.Config{}, true, "Bearer " + token},
		{"none", rest.Config{}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var seen atomic.Value
			server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen.Store(r.Header.Get("Authorization")) }))
			t.Cleanup(server.Close)
			tt.config.Host = server.URL
			tt.config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
			client, err := New(Options{Config: &tt.config, Self: tt.self})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			if _, err := client.Review(t.Context(), token, "a"); err == nil {
				t.Error("an empty answer is a verdict")
			}
			if got := seen.Load(); got != tt.want {
				t.Errorf("the server saw %q", got)
			}
		})
	}
}
