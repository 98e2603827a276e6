package login

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/gatetest"
)

// A login goes through the proxy of the configuration, with TLS from the agent
// to the gateway.
func TestLoginThroughTheConfiguredProxy(t *testing.T) {
	t.Parallel()
	token := gatetest.Token(t, map[string]any{"sub": "x"})
	address, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) {
		gatetest.Grant(w, token, time.Now().Add(time.Hour))
	})
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.Host)
		mu.Unlock()
		there, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = there.Close() }()
		w.WriteHeader(http.StatusOK)
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(there, client)
			_ = there.Close()
		}()
		_, _ = io.Copy(client, there)
		_ = client.Close()
		<-done
	}))
	t.Cleanup(proxy.Close)
	for way, want := range map[string][]string{proxy.URL: {"CONNECT " + strings.TrimPrefix(address, "https://")}, config.ProxyNone: nil} {
		mu.Lock()
		asked = nil
		mu.Unlock()
		c, err := New(Options{Protocol: config.ProtocolGateway, URL: address, CABundle: ca.PEM(), Proxy: way,
			AccessID: "p-abcdefghij12km", AuthConfig: "k8s-conf", Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Login(t.Context(), podToken(t))
		c.Close()
		if err != nil || got.Token != token {
			t.Errorf("%s: want a session, got %v", way, err)
		}
		mu.Lock()
		if strings.Join(asked, "; ") != strings.Join(want, "; ") {
			t.Errorf("%s: the proxy was asked for %q, want %q", way, asked, want)
		}
		mu.Unlock()
	}
}
