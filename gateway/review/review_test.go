package review

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "aGVhZA.Ym9keQ.c2ln"

func TestIsJWT(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, token string
		want        bool
	}{
		{"three parts", "a.b-_.c9", true},
		{"two parts", "a.b", false},
		{"four parts", "a.b.c.d", false},
		{"no signature", "a.b.", false},
		{"no header", ".b.c", false},
		{"no payload", "a..c", false},
		{"nothing", "", false},
		{"only dots", "..", false},
		{"a quotation mark", `a.b".c`, false},
		{"white space", "a.b.c\n", false},
		{"padding", "a=.b.c", false},
		{"a letter that base64 does not have", "a.ü.c", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := IsJWT(tt.token); got != tt.want {
				t.Errorf("IsJWT(%q) = %t", tt.token, got)
			}
		})
	}
}

// failing is an API server that fails, and a client for it.
func failing(t *testing.T, o Options, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	o.Config = &rest.Config{Host: server.URL}
	o.Config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	client, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestReviewFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		reason  Reason
		retry   time.Duration
	}{
		{"a server error", answers(500, `{"kind":"Status","message":"etcd"}`), ReasonServerError, 7 * time.Second},
		{"a gateway's error page", answers(502, "<html>"), ReasonServerError, 7 * time.Second},
		{"too many requests", answers(429, ""), ReasonThrottled, 7 * time.Second},
		{"a reviewer without rights", answers(403, `{"message":"forbidden"}`), ReasonReviewerForbidden, 0},
		{"a reviewer that is not known", answers(401, ""), ReasonReviewerUnauthorized, 0},
		{"no such path", answers(404, "404 page not found"), ReasonMalformed, 0},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.invalid/", http.StatusTemporaryRedirect)
		}, ReasonMalformed, 0},
		{"an answer that is not JSON", answers(201, "hello"), ReasonMalformed, 0},
		{"an answer of another kind", answers(201, `{"kind":"Pod","status":{"authenticated":true,"user":{"username":"u"}}}`), ReasonMalformed, 0},
		{"an answer that says authenticated twice", answers(201, `{"kind":"TokenReview","status":{"authenticated":false,"authenticated":true,"user":{"username":"u"}}}`), ReasonMalformed, 0},
		{"an answer that never ends", func(w http.ResponseWriter, _ *http.Request) {
			for chunk := strings.Repeat(" ", 1<<16); ; {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
			}
		}, ReasonMalformed, 0},
		{"an answer about another token", answers(201, `{"kind":"TokenReview","spec":{"token":"b.b.b"},"status":{"authenticated":true,"user":{"username":"u"}}}`), ReasonMalformed, 0},
		{"an answer that breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"kind":`)
		}, ReasonUnreachable, 0},
		{"a connection that breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ReasonUnreachable, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			user, err := failing(t, Options{}, tt.handler).Review(t.Context(), token, "a")
			var failure *Failure
			if !errors.As(err, &failure) || failure.Reason != tt.reason || failure.RetryAfter != tt.retry || user != nil {
				t.Fatalf("user %v, error %#v", user, err)
			}
			if strings.Contains(failure.Detail, token) {
				t.Error("the error holds the token")
			}
		})
	}
}

func TestReviewRejections(t *testing.T) {
	t.Parallel()
	status := func(s string) http.HandlerFunc { return answers(201, `{"kind":"TokenReview","status":`+s+`}`) }
	for _, tt := range []struct {
		name    string
		self    bool
		handler http.HandlerFunc
		reason  Reason
	}{
		{"an empty status", false, status(`{}`), ReasonUnknown},
		{"not authenticated, with a user all the same", false, status(`{"authenticated":false,"user":{"username":"u"}}`), ReasonUnknown},
		{"authenticated, and an error beside it", false, status(`{"authenticated":true,"user":{"username":"system:serviceaccount:a:b"},"error":"the webhook did not answer"}`), ReasonUnknown},
		{"authenticated, and a known error beside it", false, status(`{"authenticated":true,"user":{"username":"system:serviceaccount:a:b"},"error":"token has expired"}`), ReasonExpired},
		{"authenticated as nobody", false, status(`{"authenticated":true}`), ReasonUnknown},
		{"Authenticated in another case", false, status(`{"Authenticated":true,"user":{"username":"u"}}`), ReasonUnknown},
		{"an audience", false, status(`{"error":"[invalid bearer token, token audiences [\"a\"] is invalid for the target audiences [\"b\"]]"}`), ReasonAudience},
		{"a key that the API server does not have", false, status(`{"error":"[invalid bearer token, invalid signature, no keys found]"}`), ReasonSignature},
		{"a signature by another key", false, status(`{"error":"[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]"}`), ReasonSignature},
		{"a claim that is there twice", false, status(`{"error":"[invalid bearer token, json: duplicate key 'sub' in object]"}`), ReasonNotJWT},
		{"a Secret with another token", false, status(`{"error":"[invalid bearer token, Token does not match server's copy]"}`), ReasonRevoked},
		{"an explanation that is new", false, status(`{"error":"because"}`), ReasonUnknown},
		{"a token that may not review itself", true, answers(403, ""), ReasonSelfForbidden},
		{"a token that can't review itself", true, answers(401, ""), ReasonSelfUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := failing(t, Options{Self: tt.self}, tt.handler).Review(t.Context(), token, "a")
			var rejection *Rejection
			if !errors.As(err, &rejection) || rejection.Reason != tt.reason || rejection.Public() == "" {
				t.Fatalf("error %#v", err)
			}
		})
	}
	t.Run("a token that is not a JWT is not sent", func(t *testing.T) {
		t.Parallel()
		client := failing(t, Options{}, func(http.ResponseWriter, *http.Request) { t.Error("sent") })
		_, err := client.Review(t.Context(), `a.b"},"status":{"authenticated":true`, "a")
		var rejection *Rejection
		if !errors.As(err, &rejection) || rejection.Reason != ReasonNotJWT {
			t.Errorf("error %v", err)
		}
	})
}

func hang(release <-chan struct{}) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
}

func TestReviewOfAServerThatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	t.Run("ends after the timeout", func(t *testing.T) {
		observed := ""
		client := failing(t, Options{Timeout: 50 * time.Millisecond, Observe: func(o string, _ time.Duration) { observed = o }}, hang(release))
		_, err := client.Review(t.Context(), token, "a")
		var failure *Failure
		if !errors.As(err, &failure) || failure.Reason != ReasonUnreachable || !strings.Contains(failure.Detail, "no answer within 50ms") {
			t.Errorf("error %v", err)
		}
		if observed != "failed" {
			t.Errorf("observed %q", observed)
		}
	})
	t.Run("ends when the caller goes", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := failing(t, Options{}, hang(release)).Review(ctx, token, "a")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestReviewOfAnUntrustedServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was sent") }))
	t.Cleanup(server.Close)
	right := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for _, tt := range []struct {
		name string
		tls  rest.TLSClientConfig
	}{
		{"a server of another CA", rest.TLSClientConfig{CAData: []byte(otherCA)}},
		{"a server of another name", rest.TLSClientConfig{CAData: right, ServerName: "kubernetes.default"}},
		{"a server of a CA that the system does not know", rest.TLSClientConfig{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, err := New(Options{Config: &rest.Config{Host: server.URL, TLSClientConfig: tt.tls}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Review(t.Context(), token, "a")
			var failure *Failure
			if !errors.As(err, &failure) || failure.Reason != ReasonUnreachable || !strings.Contains(failure.Detail, "certificate") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTransportFollowsItsCA(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(answers(500, ""))
	t.Cleanup(server.Close)
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	ca := filepath.Join(t.TempDir(), "ca.crt")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(ca, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte(otherCA))
	config := &rest.Config{Host: server.URL}
	config.CAFile = ca
	client, err := New(Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	reason := func() Reason {
		t.Helper()
		// The check is due, as it would be a minute later.
		client.transport.mu.Lock()
		client.transport.checked = time.Time{}
		client.transport.mu.Unlock()
		_, err := client.Review(t.Context(), token, "a")
		var failure *Failure
		if !errors.As(err, &failure) {
			t.Fatal(err)
		}
		return failure.Reason
	}
	if got := reason(); got != ReasonUnreachable {
		t.Fatalf("a server of another CA is reached: %s", got)
	}
	write(good)
	if got := reason(); got != ReasonServerError {
		t.Errorf("the new CA is not trusted: %s", got)
	}
	write([]byte("half a fi"))
	if got := reason(); got != ReasonServerError {
		t.Errorf("a broken CA file ends a working connection: %s", got)
	}
	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	if got := reason(); got != ReasonServerError {
		t.Errorf("a missing CA file ends a working connection: %s", got)
	}
	write([]byte(otherCA))
	if got := reason(); got != ReasonUnreachable {
		t.Errorf("the old CA is still trusted: %s", got)
	}
}

// clientPair writes a new client certificate of that name.
func clientPair(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err == nil {
		err = os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600)
	}
	if err == nil {
		err = os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTransportFollowsItsClientCertificate(t *testing.T) {
	t.Parallel()
	var seen atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	clientPair(t, cert, key, "first")
	config := &rest.Config{Host: server.URL}
	config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config.CertFile, config.KeyFile = cert, key
	client, err := New(Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	expect := func(what, want string) {
		t.Helper()
		// The check is due, as it would be a minute later.
		client.transport.mu.Lock()
		client.transport.checked = time.Time{}
		client.transport.mu.Unlock()
		_, err := client.Review(t.Context(), token, "a")
		var failure *Failure
		if !errors.As(err, &failure) || failure.Reason != ReasonServerError || seen.Load() != want {
			t.Errorf("%s: the server saw %v: %v", what, seen.Load(), err)
		}
	}
	expect("at first", "first")
	clientPair(t, cert, key, "second")
	expect("after a rotation, on a connection that was busy", "second")
	if err := os.WriteFile(cert, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("with a broken file", "second")
	clientPair(t, filepath.Join(dir, "unused"), key, "third")
	expect("with a key that does not fit", "second")
	clientPair(t, cert, key, "fourth")
	expect("when both fit again", "fourth")
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	insecure := &rest.Config{Host: "https://h"}
	insecure.Insecure = true
	missing := &rest.Config{Host: "https://h"}
	missing.CAFile = "/does/not/exist"
	for _, tt := range []struct {
		name   string
		config *rest.Config
		want   string
	}{
		{"an address without TLS", &rest.Config{Host: "http://h"}, "https"},
		{"an address without a scheme", &rest.Config{Host: "h:6443"}, "https"},
		{"a kubeconfig that verifies nothing", insecure, "verification off"},
		{"a CA that does not exist", missing, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(Options{Config: tt.config}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestATokenThatIsSentBackStaysOutOfErrors(t *testing.T) {
	t.Parallel()
	const (
		header  = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ"
		payload = "eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6bnM6c2EifQ"
		mac     = "c2lnbmF0dXJlLXdpdGgtbWFueS1ieXRlcw"
		whole   = header + "." + payload + "." + mac
		another = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJvdGhlciJ9.b3RoZXItc2lnbmF0dXJl"
	)
	for _, tt := range []struct {
		name   string
		status int
		body   string
	}{
		{"the request's body as it was", 500, `{"spec":{"token":"` + whole + `"}}`},
		{"in a Status", 403, `{"message":"denied: ` + whole + `"}`},
		{"cut off by the bound on messages", 500, strings.Repeat("x ", 120) + whole},
		{"cut off by the server", 500, whole[:len(header)+10]},
		{"without its header", 500, payload + "." + mac},
		{"its signature alone", 500, mac},
		{"with escaped dots", 500, strings.ReplaceAll(whole, ".", "%2E")},
		{"behind a byte whose escape ends with the token's first letter", 500, "\xfe" + whole[1:]},
		{"another token, with dots as JSON may write them", 502, strings.ReplaceAll(another, ".", `\u002e`)},
		{"another token, the reviewer's", 502, "Authorization: Bearer " + another},
		{"in a review's explanation", 201, `{"kind":"TokenReview","status":{"error":"bad token ` + whole + `"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := failing(t, Options{}, answers(tt.status, tt.body)).Review(t.Context(), whole, "a")
			if err == nil || !strings.Contains(err.Error(), "(token)") {
				t.Fatalf("error %v", err)
			}
			for _, secret := range []string{header[:12], payload[:12], mac, another[:12], "b3RoZXItc2lnbmF0dXJl"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q is in %v", secret, err)
				}
			}
		})
	}
}

func TestATokenInAnAnswerThatIsNotHTTPStaysOutOfErrors(t *testing.T) {
	t.Parallel()
	const whole = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJlLXdpdGgtbWFueS1ieXRlcw"
	client := failing(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, whole+"\r\n\r\n")
		_ = conn.Close()
	})
	_, err := client.Review(t.Context(), whole, "a")
	if err == nil || !strings.Contains(err.Error(), "(token)") || strings.Contains(err.Error(), "c2lnb") {
		t.Errorf("error %v", err)
	}
}
