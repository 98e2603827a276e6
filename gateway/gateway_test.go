package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/metricstest"
	"github.com/gatepass/gatepass/gateway/review"
	"github.com/gatepass/gatepass/gateway/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	accessID = "p-abcdefghij12km"
	issuer   = "https://gateway.example:8000"
	aToken   = "aGVhZA.Ym9keQ.c2ln"
)

// reviewerFunc stands for an API server that fails or refuses. What one that
// answers does, test/gateway holds against a real one.
type reviewerFunc func(ctx context.Context) error

func (f reviewerFunc) Review(ctx context.Context, _, _ string) (*authmethod.User, error) {
	return nil, f(ctx)
}

func rejecting(context.Context) error {
	return &review.Rejection{Reason: review.ReasonUnknown, Detail: "no"}
}

// fixedState is one auth method and its auth configs.
type fixedState struct {
	method   authmethod.Method
	reviewer Reviewer            // of k8s-conf
	more     map[string]Reviewer // of other auth configs, by name
	sessions *session.Keyring
}

func (s *fixedState) AuthConfig(name string) (*AuthConfig, bool) {
	if reviewer, ok := s.more[name]; ok {
		return &AuthConfig{Name: name, AccessID: accessID, Reviewer: reviewer}, true
	}
	return &AuthConfig{Name: name, AccessID: accessID, Reviewer: s.reviewer}, name == "k8s-conf"
}
func (s *fixedState) AuthMethod(id string) (*authmethod.Method, bool) {
	return &s.method, id == accessID
}
func (s *fixedState) Sessions() *session.Keyring { return s.sessions }

func (s *fixedState) Authenticate(token string, _ netip.Addr) (*session.Claims, error) {
	return s.sessions.Verify(token, time.Now())
}

func (s *fixedState) VerifyAccessKey(string, string) bool { return false }

func (s *fixedState) AuthMethodNamed(name string) (*authmethod.Method, bool) {
	return &s.method, name == s.method.Name
}
func (s *fixedState) LeaseEnd(c *session.Claims) time.Time { return c.ExpiresAt() }
func (s *fixedState) Generation(_, _ string) string        { return "" }

func keyring(t testing.TB) *session.Keyring {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := session.NewKey(private)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := session.NewKeyring(issuer, session.Signing{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// records is an audit log in memory.
type records struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(b)
}

// last returns the newest record and forgets all.
func (r *records) last(t testing.TB) map[string]any {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(r.lines.String()), "\n")
	r.lines.Reset()
	var record map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &record); err != nil {
		t.Fatalf("audit log %q: %v", lines, err)
	}
	return record
}

// noObjects is for tests that ask the catalog for nothing.
type noObjects struct{}

func (noObjects) As(catalog.Caller) catalog.Accessor { return nil }
func (noObjects) CatchUp(context.Context) error      { return nil }

func newGateway(t testing.TB, state *fixedState, change func(*Options)) (*Gateway, *records) {
	t.Helper()
	if state.sessions == nil {
		state.sessions = keyring(t)
	}
	state.method.AccessID = accessID
	kept := &records{}
	o := Options{
		State:   func() State { return state },
		Audit:   audit.NewLog(kept),
		Catalog: noObjects{},
		Ready:   func() error { return nil },
		Logger:  slog.New(slog.DiscardHandler),
		Metrics: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&o)
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g, kept
}

// serve sends one request and checks what every answer must be like.
func serve(t testing.TB, g http.Handler, method, path, body string) (*http.Response, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	g.ServeHTTP(recorder, httptest.NewRequest(method, path, strings.NewReader(body)))
	res := recorder.Result()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s %s: content type %q", method, path, got)
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		t.Errorf("%s %s: redirect to %q", method, path, res.Header.Get("Location"))
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Errorf("%s %s: %v in %q", method, path, err, text)
	}
	if problem, ok := object["error"].(string); (res.StatusCode >= 400) != ok || (ok && problem == "") {
		t.Errorf("%s %s: status %d with %s", method, path, res.StatusCode, text)
	}
	return res, string(text)
}

// count is a counter's value.
func count(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	for _, value := range metricstest.Values(t, registry) {
		return value
	}
	t.Fatal("it has no value")
	return 0
}

// gauge is the present value of a registered gauge.
func gauge(t testing.TB, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	value, ok := metricstest.Values(t, registry)[name]
	if !ok {
		t.Fatalf("no metric %s", name)
	}
	return value
}

func loginBody(token string) string {
	return `{"access-id":"` + accessID + `","access-type":"k8s","k8s-auth-config-name":"k8s-conf","k8s-service-account-token":"` + token + `"}`
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
	for _, base := range []string{"", "/", "/v2", "/v2/", "//v2", "/api/v2", "/api/v2/", "//api//v2//"} {
		for _, tt := range []struct {
			name, method, path string
			status             int
			text               string
		}{
			{"auth is a command", "POST", "/auth", 401, "failed to validate token"},
			{"a slash at the end is ignored", "POST", "/auth/", 401, "failed to validate token"},
			{"two slashes are one", "POST", "//auth", 401, "failed to validate token"},
			{"a query is ignored", "POST", "/auth?x=1", 401, "failed to validate token"},
			{"validate-token is a command", "POST", "/validate-token", 400, "token is missing"},
			{"describe-sub-claims is a command", "POST", "/describe-sub-claims", 401, "unauthorized"},
			{"the base itself is no command", "POST", "", 404, "unknown command"},
			{"another name is no command", "POST", "/get-secret-values", 404, "unknown command: get-secret-values"},
			{"a longer path is no command", "POST", "/auth/x", 404, "unknown command: auth/x"},
			{"a name in another case is no command", "POST", "/Auth", 404, "unknown command"},
			{"dots don't climb", "POST", "/x/../auth", 404, "unknown command"},
			{"an encoded slash is a slash", "POST", "/%2fauth", 401, "failed to validate token"},
			{"a command is not for GET", "GET", "/auth", 405, "use POST"},
			{"a command is not for OPTIONS", "OPTIONS", "/auth", 405, "use POST"},
			{"a GET of nothing is no command", "GET", "/nothing", 404, "unknown command"},
			{"discovery", "GET", "/.well-known/openid-configuration", 200, `"issuer":"` + issuer + `"`},
			{"the key set", "GET", "/.well-known/jwks.json", 200, `"keys":[{`},
			{"the key set is not for POST", "POST", "/.well-known/jwks.json", 405, "use GET"},
			{"healthz", "GET", "/healthz", 200, "ok"},
			{"readyz", "GET", "/readyz", 200, "ok"},
		} {
			t.Run(tt.name+" under "+base, func(t *testing.T) {
				t.Parallel()
				path := base + tt.path
				if !strings.HasPrefix(path, "/") {
					path = "/" + path
				}
				res, text := serve(t, g, tt.method, path, loginBody(aToken))
				if res.StatusCode != tt.status || !strings.Contains(text, tt.text) {
					t.Errorf("%s %s: %d %s, want %d and %q", tt.method, path, res.StatusCode, text, tt.status, tt.text)
				}
				if allow := res.Header.Get("Allow"); (tt.status == 405) != (allow != "") {
					t.Errorf("%s %s: Allow %q", tt.method, path, allow)
				}
				if cache := res.Header.Get("Cache-Control"); tt.method == "POST" && cache != "no-store" {
					t.Errorf("%s %s: Cache-Control %q", tt.method, path, cache)
				}
			})
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
	for path, limit := range map[string]int{"/auth": 64 << 10, "/validate-token": 16 << 10, "/describe-sub-claims": 16 << 10} {
		res, _ := serve(t, g, http.MethodPost, path, strings.Repeat(" ", limit+1))
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s with a length: %d", path, res.StatusCode)
		}
		res, text := serve(t, g, http.MethodPost, path, `{"x":"`+strings.Repeat("x", limit-8)+`"}`)
		if res.StatusCode == http.StatusRequestEntityTooLarge {
			t.Errorf("%s with the largest body: %d %s", path, res.StatusCode, text)
		}
		recorder := httptest.NewRecorder()
		endless := &countingReader{r: io.MultiReader(strings.NewReader(`{"x":"`), endlessReader{})}
		g.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, path, endless))
		if recorder.Code != http.StatusRequestEntityTooLarge || recorder.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s without a length: %d", path, recorder.Code)
		}
		if endless.n > limit+1 {
			t.Errorf("%s reads %d bytes", path, endless.n)
		}
	}
	if len(loginBody(strings.Repeat("x", base64.StdEncoding.EncodedLen(maxToken)))) > maxLoginBody {
		t.Error("the largest token has no room in a login")
	}
}

// countingReader knows how much was read.
type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

type endlessReader struct{}

func (endlessReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestValidateToken(t *testing.T) {
	t.Parallel()
	state := &fixedState{reviewer: reviewerFunc(rejecting), sessions: keyring(t)}
	g, _ := newGateway(t, state, nil)
	issue := func(ttl time.Duration) string {
		token, _, err := state.sessions.Sign(session.Grant{AccessID: accessID, Subject: "s", TTL: ttl, Now: time.Now(),
			SubClaims: map[string][]string{"namespace": {"ns"}}})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := issue(time.Minute)
	for _, tt := range []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"a session is valid", "/validate-token", `{"token":"` + good + `"}`, 200, `{"is_valid":true,"expiration":"`},
		{"the other field names a session, too", "/validate-token", `{"token":"","uid-token":"` + good + `"}`, 200, `{"is_valid":true`},
		{"an expired session is not valid", "/validate-token", `{"token":"` + issue(0) + `"}`, 200, `{"is_valid":false,"reason":"the session has expired"}`},
		{"another token is not valid", "/validate-token", `{"token":"t-123"}`, 200, `{"is_valid":false,"reason":"the token is not a session token"}`},
		{"a body that is not JSON", "/validate-token", `token`, 400, "not a JSON object"},
		{"sub-claims of a session", "/describe-sub-claims", `{"token":"` + good + `"}`, 200, `{"sub_claims":{"namespace":["ns"]}}`},
		{"no sub-claims of an expired session", "/describe-sub-claims", `{"token":"` + issue(0) + `"}`, 401, "unauthorized: the session has expired"},
		{"no sub-claims without a session", "/describe-sub-claims", `{}`, 401, "unauthorized"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res, text := serve(t, g, http.MethodPost, tt.path, tt.body)
			if res.StatusCode != tt.status || !strings.Contains(text, tt.want) {
				t.Errorf("%d %s, want %d %q", res.StatusCode, text, tt.status, tt.want)
			}
		})
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[2001:db8::1]:1": "2001:db8::1", "[::ffff:192.0.2.1]:1": "192.0.2.1", "[fe80::1%eth0]:1": "fe80::1",
	} {
		r := httptest.NewRequest(http.MethodPost, "/auth", nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", "10.0.0.1")
		if got := clientAddress(r); got != netip.MustParseAddr(want) {
			t.Errorf("%s is %s", remote, got)
		}
	}
}
