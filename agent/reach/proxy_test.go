package reach

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/gatetest"
	"github.com/gatepass/gatepass/agent/trust"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// password is one that no message may hold, also if the proxy sends it back.
const password = "hunter2"

// listen accepts connections and hands each to serve, until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// answering is a proxy that answers each CONNECT with a text, and says no more.
func answering(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, text)
	}
}

// silent reads until the client goes.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// passing is a proxy that connects to a server.
func passing(server string) func(net.Conn) {
	return func(client net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(client))
		there, err := new(net.Dialer).Dial("tcp", server)
		if err != nil {
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(there, client)
			_ = there.Close()
		}()
		_, _ = io.Copy(client, there)
		_ = client.Close()
		<-done
	}
}

// socksRefusing is a SOCKS proxy whose rules forbid it (RFC 1928, section 6).
func socksRefusing(conn net.Conn) {
	_, _ = io.ReadFull(conn, make([]byte, 3))
	_, _ = conn.Write([]byte{5, 0})
	_, _ = io.ReadFull(conn, make([]byte, 4+1+len("gateway.example")+2))
	_, _ = conn.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0})
}

// get makes one request through a proxy, and returns what it failed with.
func get(ctx context.Context, t *testing.T, proxy, bundle string) error {
	t.Helper()
	at, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse("https://gateway.example:8000/auth")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := trust.Roots(bundle)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(at, server)
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: 100 * time.Millisecond}).DialContext, TLSClientConfig: trust.Config(roots, "", nil),
	}
	defer transport.CloseIdleConnections()
	p.Use(transport)
	ctx = p.Track(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return p.Blame(ctx, err)
	}
	return resp.Body.Close()
}

func TestProxyFailuresNameTheProxy(t *testing.T) {
	t.Parallel()
	ca := gatetest.NewAuthority(t, "CA")
	secure := gatetest.Serve(t, ca.Issue(t, gatetest.Leaf{Names: []string{"other.example"}}), gatetest.Hang)
	gone := listen(t, silent)
	for _, row := range []struct {
		name  string
		serve func(net.Conn)
		// at is the proxy's URL, with %s for the address of what serves.
		at, want  string
		untrusted bool
	}{
		{"a refusal has its status", answering("HTTP/1.1 403 Forbidden\r\n\r\n"), "http://%s", "the proxy ADDRESS refused to connect to gateway.example:8000 (403 Forbidden); allow that there, or name gateway.example in NO_PROXY", false},
		{"what it writes beside the status is not repeated", answering("HTTP/1.1 403 no " + password + "\r\nX: " + password + "\r\n\r\n" + password), "http://%s", "(403 Forbidden)", false},
		{"a status without a name is told by its number", answering("HTTP/1.1 499 x\r\n\r\n"), "http://%s", "refused to connect to gateway.example:8000 (499);", false},
		{"a redirect is a refusal", answering("HTTP/1.1 302 Found\r\nLocation: http://login.example\r\n\r\n"), "http://%s", "refused to connect to gateway.example:8000 (302 Found)", false},
		{"a proxy that wants a password says so", answering("HTTP/1.1 407 x\r\n\r\n"), "http://%s", "the proxy ADDRESS asks for a user and password (407 Proxy Authentication Required); put them into HTTPS_PROXY", false},
		{"a wrong password is not an absent one", answering("HTTP/1.1 407 x\r\n\r\n"), "http://user:" + password + "@%s", "the proxy ADDRESS did not accept the user and password in HTTPS_PROXY (407 Proxy Authentication Required)", false},
		{"a proxy that can't reach the gateway", answering("HTTP/1.1 502 x\r\n\r\n"), "http://user:" + password + "@%s", "the proxy ADDRESS could not connect to gateway.example:8000 (502 Bad Gateway); check that it may reach it", false},
		{"a proxy that hangs", silent, "http://user:" + password + "@%s", "the proxy ADDRESS did not connect to gateway.example:8000 in time", false},
		{"a proxy that hangs up", func(net.Conn) {}, "http://%s", "the proxy ADDRESS closed the connection and did not connect to gateway.example:8000", false},
		{"what is no proxy", answering("SSH-2.0-x\r\n"), "http://%s", "what answers at the address of the proxy ADDRESS is no proxy; check HTTPS_PROXY", false},
		{"a proxy that is not there", nil, "http://user:" + password + "@127.0.0.1:1", "the proxy 127.0.0.1:1 can't be reached: connection refused; is the proxy running", false},
		{"a proxy that is reached by https and speaks none", answering("HTTP/1.1 400 x\r\n\r\n"), "https://%s", "the proxy ADDRESS can't be reached: what listens there does not speak TLS; check the port in HTTPS_PROXY", false},
		{"a proxy with another's certificate", nil, strings.Replace(secure, "https://", "https://user:"+password+"@", 1), "is not trusted: the certificate is not valid for 127.0.0.1 but for other.example; set HTTPS_PROXY to one of these names", true},
		{"a SOCKS proxy that refuses", socksRefusing, "socks5://%s", "the proxy ADDRESS did not connect to gateway.example:8000: unknown error connection not allowed by ruleset", false},
		{"a SOCKS proxy that hangs up", func(net.Conn) {}, "socks5://%s", "the proxy ADDRESS closed the connection and did not connect to gateway.example:8000", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			at, address := row.at, gone
			if row.serve != nil {
				address = listen(t, row.serve)
				at = fmt.Sprintf(at, address)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := get(ctx, t, at, ca.PEM())
			failed, ok := errors.AsType[*ProxyError](err)
			if !ok {
				t.Fatalf("%T: %v", err, err)
			}
			if want := strings.ReplaceAll(row.want, "ADDRESS", address); !strings.Contains(failed.Error(), want) {
				t.Errorf("it says\n%s\nwant\n%s", failed, want)
			}
			if failed.Untrusted != row.untrusted || strings.Contains(failed.Error(), password) || strings.Contains(failed.Error(), "\n") {
				t.Errorf("untrusted: %t; it says %q", failed.Untrusted, failed)
			}
		})
	}
}

func TestFailuresBehindTheProxyAreNotTheProxys(t *testing.T) {
	t.Parallel()
	ca := gatetest.NewAuthority(t, "CA")
	good := ca.Issue(t, gatetest.Leaf{Names: []string{"gateway.example"}})
	other := ca.Issue(t, gatetest.Leaf{Names: []string{"other.example"}})
	serve := func(cert tls.Certificate, handler http.HandlerFunc) string {
		return strings.TrimPrefix(gatetest.Serve(t, cert, handler), "https://")
	}
	for name, server := range map[string]string{
		"a gateway that hangs":                  serve(good, gatetest.Hang),
		"a gateway that hangs up":               serve(good, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		"a gateway with another's certificate":  serve(other, gatetest.Hang),
		"a server that does not speak TLS":      listen(t, answering("HTTP/1.1 400 x\r\n\r\n")),
		"a server that hangs in the handshake":  listen(t, silent),
		"a server that hangs up in a handshake": listen(t, func(net.Conn) {}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := get(ctx, t, "http://"+listen(t, passing(server)), ca.PEM())
			if failed, ok := errors.AsType[*ProxyError](err); ok || err == nil {
				t.Errorf("%v: %v", failed, err)
			}
		})
	}
	t.Run("an end of the caller's", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		proxy := listen(t, func(conn net.Conn) {
			cancel()
			silent(conn)
		})
		err := get(ctx, t, "http://"+proxy, ca.PEM())
		if _, ok := errors.AsType[*ProxyError](err); ok || !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// The address of a profile's proxy is not the environment's.
func TestTheConfiguredProxyIsTakenAndNamed(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://other.example:3128") // read once per process, perhaps before
	server, err := url.Parse("https://gateway.example:8000/auth")
	if err != nil {
		t.Fatal(err)
	}
	direct, err := Through(config.ProxyNone, server)
	if direct != nil || err != nil {
		t.Errorf("want the direct way, got %v, %v", direct, err)
	}
	p, err := Through("http://proxy.example:3128", server)
	if err != nil || p.Address() != "proxy.example:3128" {
		t.Fatalf("want the proxy, got %v, %v", p, err)
	}
	for status, want := range map[statusError]string{
		http.StatusProxyAuthRequired: "asks for a user and password (407 Proxy Authentication Required), which a profile can't hold",
		http.StatusForbidden:         "refused to connect to gateway.example:8000 (403 Forbidden); allow that there, or set the profile's gateway.proxy to none",
	} {
		if got := p.Blame(t.Context(), status); !strings.Contains(got.Error(), want) {
			t.Errorf("want\n\t%s\ngot\n\t%v", want, got)
		}
	}
	for _, address := range []string{"proxy.example:3128", "http://me:" + password + "@proxy.example:3128", "socks5://proxy.example"} {
		if _, err := Through(address, server); err == nil || !strings.HasPrefix(err.Error(), "GATEPASS_PROXY: ") || strings.Contains(err.Error(), password) {
			t.Errorf("%s: want it refused without its password, got %v", address, err)
		}
	}
}
