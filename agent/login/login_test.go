package login

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/gatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, url, ca string, timeout time.Duration) *Client {
	t.Helper()
	c, err := New(Options{
		Protocol: config.ProtocolGateway, URL: url, CABundle: ca,
		AccessID: "p-abcdefghij12km", AuthConfig: "k8s-conf",
		Timeout: timeout, UserAgent: "gatepass-agent/test",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func podToken(t *testing.T) string {
	t.Helper()
	return gatetest.Token(t, map[string]any{"sub": "system:serviceaccount:my-ns:my-sa"})
}

func TestLogin(t *testing.T) {
	t.Parallel()
	identity := podToken(t)
	issued := time.Now().Truncate(time.Second).UTC()
	expiry := issued.Add(15 * time.Minute)
	token := gatetest.Token(t, map[string]any{"iat": issued.Unix(), "exp": expiry.Unix(), "sub": "x"})

	for _, prefix := range []string{"", "/", "/v2", "/api/v2/"} {
		t.Run(fmt.Sprintf("the request under %q is what a gateway expects", prefix), func(t *testing.T) {
			t.Parallel()
			var base string
			url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
				if want := strings.TrimRight(prefix, "/") + "/auth"; r.Method != http.MethodPost || r.URL.Path != want || r.ProtoMajor != 1 {
					t.Errorf("request is %s %s %s", r.Method, r.URL.Path, r.Proto)
				}
				if got := r.Header.Get("Content-Type"); got != "application/json" {
					t.Errorf("Content-Type is %q", got)
				}
				if got := r.Header.Get("User-Agent"); got != "gatepass-agent/test" {
					t.Errorf("User-Agent is %q", got)
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				var got map[string]string
				if err := json.Unmarshal(body, &got); err != nil {
					t.Error(err)
				}
				want := map[string]string{
					"access-id":                 "p-abcdefghij12km",
					"access-type":               "k8s",
					"k8s-auth-config-name":      "k8s-conf",
					"k8s-service-account-token": base64.StdEncoding.EncodeToString([]byte(identity)),
					"gateway-url":               base,
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("body (-want +got):\n%s", diff)
				}
				gatetest.Grant(w, token, expiry)
			})
			base = url
			s, err := newClient(t, url+prefix, ca.PEM(), 0).Login(t.Context(), identity)
			if err != nil {
				t.Fatal(err)
			}
			if s.Token != token || s.Gateway != url+prefix || !s.Issued.Equal(issued) || !s.Expiry.Equal(expiry) || s.Claims["sub"] != "x" {
				t.Errorf("session is %+v", s)
			}
		})
	}
}

// hostile is a server's behaviour and what the client must make of it.
type hostile struct {
	name    string
	handler http.HandlerFunc
	kind    Kind
	reason  string
	wait    time.Duration
}

func write(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func refuse(status int, reason string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		gatetest.Refuse(w, status, reason)
	}
}

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func breakOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"token":"abc`)
}

func hostiles() []hostile {
	const js, html = "application/json", "text/html"
	return []hostile{
		{"a gateway that hangs is unreachable", gatetest.Hang, Unreachable, "no answer in time", 0},
		{"a connection closed without an answer is unreachable", abort, Unreachable, "closed the connection early", 0},
		{"an answer that breaks off is unreachable", breakOff, Unreachable, "closed the connection early", 0},
		{"a denial passes on the reason", refuse(403, "unauthorized: bound service accounts mismatch"), Denied, "denied the login (403 Forbidden): unauthorized: bound service accounts mismatch", 0},
		{"a bound rule can be read about in the audit log", refuse(401, "unauthorized: bound pod names mismatch"), Denied, "bound pod names mismatch; the gateway's administrators find in its audit log", 0},
		{"another audience is the profile's or the pod's", refuse(401, "failed to validate token: the token is meant for another audience"), Denied, "another audience; use the one that the gateway's auth method names", 0},
		{"an unknown auth config passes on the reason", refuse(404, "k8s auth name [x] not found"), Denied, "k8s auth name [x] not found; check the access id and the auth config", 0},
		{"a reason of several lines becomes one line", refuse(401, "first\nsecond\x1b[31m\u202ethird"), Denied, "first second [31m third", 0},
		{"429 with seconds names the wait", refuse(429, "slow down", "Retry-After", "2"), Failing, "429 Too Many Requests): slow down", 2 * time.Second},
		{"503 with a garbled wait has none", refuse(503, "starting", "Retry-After", "soon"), Failing, "503 Service Unavailable): starting", 0},
		{"503 with HTML is failing all the same", write(503, html, "<html>secret</html>"), Failing, "failing (503 Service Unavailable)", 0},
		{"408 may be tried again", refuse(408, "slow"), Failing, "408", 0},
		{"500 may be tried again", write(500, js, ``), Failing, "500", 0},
		{"a status without a name is failing", write(599, js, ``), Failing, "(599)", 0},
		{"404 with HTML is no gateway", write(404, html, "<html>"), Foreign, "404 Not Found) does not look like a gateway", 0},
		{"200 with HTML is no gateway", write(200, html, "<html>welcome</html>"), Foreign, "not the JSON of a gateway", 0},
		{"truncated JSON is no gateway", write(200, js, `{"token":"abc`), Foreign, "not the JSON of a gateway", 0},
		{"JSON with a tail is no gateway", write(200, js, `{"token":"abc"}{}`), Foreign, "not the JSON of a gateway", 0},
		{"JSON of another shape is no gateway", write(200, js, `["token"]`), Foreign, "not the JSON of a gateway", 0},
		{"an empty body is no gateway", write(200, js, ``), Foreign, "not the JSON of a gateway", 0},
		{"null is no gateway", write(200, js, `null`), Foreign, "holds no session token", 0},
		{"an answer without a token is no gateway", write(200, js, `{"token":""}`), Foreign, "holds no session token", 0},
		{"a token with a line end is refused", write(200, js, `{"token":"abc\n"}`), Foreign, "characters that no token has", 0},
		{"a token of 200 KB is refused", write(200, js, `{"token":"`+strings.Repeat("a", 200<<10)+`"}`), Foreign, "larger than", 0},
		{"a body of 3 MB is refused", write(200, js, `{"token":"`+strings.Repeat("a", 3<<20)+`"}`), Foreign, "larger than 1048576", 0},
		{"204 is no gateway", write(204, js, ``), Foreign, "204 No Content", 0},
		{"201 is no gateway", write(201, js, `{"token":"abc"}`), Foreign, "201 Created", 0},
	}
}

func TestHostileGateways(t *testing.T) {
	t.Parallel()
	identity := podToken(t)
	for _, tt := range hostiles() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, ca := gatetest.NewServer(t, tt.handler)
			timeout := 10 * time.Second
			if strings.Contains(tt.name, "hangs") {
				timeout = 200 * time.Millisecond
			}
			s, err := newClient(t, url, ca.PEM(), timeout).Login(t.Context(), identity)
			failure := requireError(t, err)
			if s.Token != "" {
				t.Error("a failed login returned a token")
			}
			if failure.Kind != tt.kind || !strings.Contains(failure.Reason, tt.reason) || failure.RetryAfter != tt.wait {
				t.Errorf("got kind %d, wait %v: %s\nwant kind %d, wait %v: %s", failure.Kind, failure.RetryAfter, failure.Reason, tt.kind, tt.wait, tt.reason)
			}
			if strings.ContainsAny(failure.Reason, "\n\x1b") || len(failure.Reason) > 2000 {
				t.Errorf("the reason is not one short line: %q", failure.Reason)
			}
		})
	}
}

func requireError(t *testing.T, err error) *Error {
	t.Helper()
	var failure *Error
	if !errors.As(err, &failure) {
		t.Fatalf("error is %v (%T), want an *Error", err, err)
	}
	return failure
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere, ca := gatetest.NewServer(t, func(http.ResponseWriter, *http.Request) {
		t.Error("the token went where the redirect leads")
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprintf("%d is refused and named", status), func(t *testing.T) {
			t.Parallel()
			url := gatetest.Serve(t, ca.Issue(t, gatetest.Leaf{}), func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere+"/auth?x=secret", status)
			})
			_, err := newClient(t, url, ca.PEM(), 0).Login(t.Context(), podToken(t))
			failure := requireError(t, err)
			if failure.Kind != Foreign || !strings.Contains(failure.Reason, elsewhere) || strings.Contains(failure.Reason, "secret") {
				t.Errorf("got kind %d: %s", failure.Kind, failure.Reason)
			}
		})
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	t.Parallel()
	authority := gatetest.NewAuthority(t, "good authority")
	other := gatetest.NewAuthority(t, "other authority")
	now := time.Now()
	tests := []struct {
		name   string
		issuer *gatetest.Authority
		leaf   gatetest.Leaf
		reason []string
	}{
		{"an unknown authority is named", other, gatetest.Leaf{}, []string{"other authority", "not among the trusted", "GATEPASS_CA_BUNDLE"}},
		{"an expired certificate is named with its time", authority, gatetest.Leaf{From: now.Add(-2 * time.Hour), Until: now.Add(-time.Hour)},
			[]string{"expired at " + now.Add(-time.Hour).UTC().Format("2006-01-02T15"), "renew"}},
		{"a certificate of the future points to the clock", authority, gatetest.Leaf{From: now.Add(time.Hour), Until: now.Add(2 * time.Hour)},
			[]string{"not valid before", "clock"}},
		{"a wrong name is named with the right ones", authority, gatetest.Leaf{Names: []string{"a.example", "b.example"}},
			[]string{"not valid for 127.0.0.1 but for a.example, b.example"}},
		{"many names are cut", authority, gatetest.Leaf{Names: strings.Split(strings.TrimSuffix(strings.Repeat("a.example,", 20), ","), ",")},
			[]string{"and 12 more"}},
		{"a client's certificate is refused", authority, gatetest.Leaf{Usage: x509.ExtKeyUsageClientAuth}, []string{"not meant for servers"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := gatetest.Serve(t, tt.issuer.Issue(t, tt.leaf), func(http.ResponseWriter, *http.Request) {
				t.Error("the token was sent to a server that is not trusted")
			})
			_, err := newClient(t, url, authority.PEM(), 0).Login(t.Context(), podToken(t))
			failure := requireError(t, err)
			if failure.Kind != Untrusted {
				t.Errorf("kind is %d", failure.Kind)
			}
			for _, want := range tt.reason {
				if !strings.Contains(failure.Reason, want) {
					t.Errorf("reason %q lacks %q", failure.Reason, want)
				}
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	_, ca := gatetest.NewServer(t, gatetest.Hang)
	listen := func(t *testing.T, serve func(net.Conn)) string {
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
		t.Cleanup(func() { _ = l.Close(); <-done })
		return "https://" + l.Addr().String()
	}
	closed := func(t *testing.T) string {
		t.Helper()
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		return "https://" + l.Addr().String()
	}
	tests := []struct {
		name, reason string
		url          func(*testing.T) string
	}{
		{"a closed port is refused", "connection refused", closed},
		{"a server that closes during the handshake may be starting", "closed the connection early",
			func(t *testing.T) string { t.Helper(); return listen(t, func(net.Conn) {}) }},
		{"a server without TLS is named", "does not speak TLS", func(t *testing.T) string {
			t.Helper()
			return listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
		}},
		{"a server of another protocol is named", "does not speak TLS", func(t *testing.T) string {
			t.Helper()
			return listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP ready\r\n") })
		}},
		{"an unknown host is named", "no-such-host.invalid", func(*testing.T) string { return "https://no-such-host.invalid:8000" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, tt.url(t), ca.PEM(), 5*time.Second).Login(t.Context(), podToken(t))
			failure := requireError(t, err)
			if failure.Kind != Unreachable || !strings.Contains(failure.Reason, tt.reason) {
				t.Errorf("kind %d: %s", failure.Kind, failure.Reason)
			}
		})
	}
}

func TestServersThatEchoSecrets(t *testing.T) {
	t.Parallel()
	identity := podToken(t)
	encoded := base64.StdEncoding.EncodeToString([]byte(identity))
	parts := strings.Split(identity, ".")
	for name, echo := range map[string]string{
		"the token":                  identity,
		"the encoded token":          encoded,
		"the token's first half":     identity[:len(identity)/2],
		"the token's signature":      parts[2],
		"a part of the encoded":      encoded[20:60],
		"a reviewer's token":         gatetest.Token(t, map[string]any{"sub": "reviewer"}),
		"a token glued to something": "jwt=" + identity + ",",
	} {
		t.Run(name+" is removed from the reason", func(t *testing.T) {
			t.Parallel()
			url, ca := gatetest.NewServer(t, refuse(403, "invalid token "+echo+" refused"))
			_, err := newClient(t, url, ca.PEM(), 0).Login(t.Context(), identity)
			reason := requireError(t, err).Error()
			if !strings.Contains(reason, "invalid token") || !strings.HasSuffix(reason, "refused") {
				t.Errorf("the rest of the reason is lost: %s", reason)
			}
			if strings.Contains(reason, echo) || strings.Contains(reason, parts[2]) {
				t.Errorf("the reason holds a secret: %s", reason)
			}
		})
	}
}

func TestCallerEndsLogin(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		close(started)
		gatetest.Hang(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	_, err := newClient(t, url, ca.PEM(), time.Minute).Login(ctx, podToken(t))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, ca := gatetest.NewServer(t, gatetest.Hang)
	good := Options{Protocol: config.ProtocolGateway, URL: "https://gateway.example", CABundle: ca.PEM()}
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"another protocol":            {func(o *Options) { o.Protocol = "ldap" }, "GATEPASS_PROTOCOL: \"ldap\" is not supported"},
		"an auth path with a query":   {func(o *Options) { o.Protocol, o.AuthPath = config.ProtocolVault, "auth?x" }, "GATEPASS_AUTH_PATH: "},
		"an auth path that climbs":    {func(o *Options) { o.Protocol, o.AuthPath = config.ProtocolVault, "auth/../sys" }, "GATEPASS_AUTH_PATH: "},
		"no auth path":                {func(o *Options) { o.Protocol, o.AuthPath = config.ProtocolVault, "/" }, "GATEPASS_AUTH_PATH: "},
		"a namespace with a line end": {func(o *Options) { o.Protocol, o.AuthPath, o.Namespace = config.ProtocolVault, "auth/k", "a\nb" }, "GATEPASS_AUTH_NAMESPACE: "},
		"an address without TLS":      {func(o *Options) { o.URL = "http://gateway.example" }, "GATEPASS_GATEWAY_URL: "},
		"a bundle without PEM":        {func(o *Options) { o.CABundle = "hello" }, "GATEPASS_CA_BUNDLE: holds no PEM"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			t.Parallel()
			o := good
			tt.change(&o)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
