package main

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/gatetest"
)

// TestProxy runs the real program, because a process reads its proxy
// variables once.
func TestProxy(t *testing.T) {
	t.Parallel()
	program := build(t, ".")
	authority := gatetest.NewAuthority(t, "authority")
	gateway := gatetest.Serve(t, authority.Issue(t, gatetest.Leaf{Names: []string{"gateway.example"}}), func(w http.ResponseWriter, _ *http.Request) {
		gatetest.Grant(w, "the-session-token", time.Now().Add(time.Hour))
	})

	var connects atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "gateway.example:8000" {
			t.Errorf("the proxy was asked to %s %s", r.Method, r.Host)
		}
		connects.Add(1)
		switch user, _, _ := strings.Cut(credentials(t, r), ":"); user {
		case "":
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		case "stranger":
			w.WriteHeader(http.StatusForbidden)
			return
		}
		tunnel(r.Context(), t, w, strings.TrimPrefix(gateway, "https://"))
	}))
	t.Cleanup(proxy.Close)
	address := strings.TrimPrefix(proxy.URL, "http://")
	as := func(user string) string { return "http://" + user + ":hunter2@" + address }

	for name, tt := range map[string]struct {
		proxy, message string
		code           int
	}{
		"the login goes through it":                      {as("user"), "", 0},
		"a proxy that wants a password is named":         {proxy.URL, "the proxy " + address + " asks for a user and password (407 Proxy Authentication Required)", 3},
		"a proxy that refuses is named":                  {as("stranger"), "the proxy " + address + " refused to connect to gateway.example:8000 (403 Forbidden)", 3},
		"an address that can't be read is not repeated":  {"http://user:hunter2@bad proxy:x", "HTTPS_PROXY: is not a proxy's address", 2},
		"one that is not there is named, no password is": {"http://user:hunter2@127.0.0.1:1", "the proxy 127.0.0.1:1 can't be reached: connection refused; is the proxy running", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, dir := surroundings(t, "https://gateway.example:8000", authority.PEM())
			env["HTTPS_PROXY"] = tt.proxy
			env["GATEPASS_TIMEOUT"] = "2s"
			env["GATEPASS_LOG_LEVEL"] = "debug"
			cmd := exec.CommandContext(t.Context(), program)
			for k, v := range env {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tt.code {
				t.Fatalf("exit code %d, want %d: %s", got, tt.code, out)
			}
			if strings.Contains(string(out), "hunter2") {
				t.Errorf("the proxy's password is in the log: %s", out)
			}
			if tt.code == 0 {
				if got := read(t, dir, "token"); got != "the-session-token" {
					t.Errorf("token is %q", got)
				}
				return
			}
			if got := read(t, dir, "message"); !strings.Contains(got, tt.message) || strings.Contains(got, "hunter2") {
				t.Errorf("message is %q", got)
			}
		})
	}
	t.Cleanup(func() {
		if connects.Load() == 0 {
			t.Error("the proxy was never used")
		}
	})
}

// credentials are the user and password that a proxy is shown; empty for none.
func credentials(t *testing.T, r *http.Request) string {
	t.Helper()
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Proxy-Authorization"), "Basic "))
	if err != nil {
		t.Error(err)
	}
	return string(decoded)
}

// tunnel answers CONNECT and copies both ways until one side ends.
func tunnel(ctx context.Context, t *testing.T, w http.ResponseWriter, address string) {
	t.Helper()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = server.Close() }()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = client.Close() }()
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		t.Error(err)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, buffered)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	_ = client.Close()
	<-done
}
