package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheProxyLeadsToItsRoutesOnly(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "the gateway")
	}))
	defer server.Close()
	p, err := startProxy(t.Context(), map[string]string{"example.com:8000": server.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	address, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	own, ok := server.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("the test server's client has another transport")
	}
	transport := &http.Transport{
		Proxy:           http.ProxyURL(address),
		TLSClientConfig: &tls.Config{RootCAs: own.TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12},
	}
	defer transport.CloseIdleConnections()
	get := func(to string) (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, http.NoBody)
		if err != nil {
			return "", err
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		return string(text), err
	}
	if got, err := get("https://example.com:8000/"); err != nil || got != "the gateway" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := get("https://example.org:8000/"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("another host: got %v", err)
	}
}

func TestColoursAreForTerminalsOnly(t *testing.T) {
	var out bytes.Buffer
	n := &narrator{out: &out}
	n.diff("-old\n+new")
	if got := out.String(); got != "   -old\n   +new\n" {
		t.Errorf("without colours: %q", got)
	}
	out.Reset()
	n.colour = true
	n.diff("-old\n+new")
	if got := out.String(); got != "   \x1b[31m-old\x1b[0m\n   \x1b[32m+new\x1b[0m\n" {
		t.Errorf("with colours: %q", got)
	}
}

func TestDecodeRefusesWhatIsNoJWT(t *testing.T) {
	for _, token := range []string{"", "a.b", "a.!.c", "a.bm90IGpzb24.c"} {
		if got, err := decode(token); err == nil {
			t.Errorf("decode(%q) = %q", token, got)
		}
	}
	if got, err := decode("x.eyJzdWIiOiJtZSJ9.x"); err != nil || got != "{\n  \"sub\": \"me\"\n}" {
		t.Errorf("got %q, %v", got, err)
	}
}
