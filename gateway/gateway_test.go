package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
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

// fixedState is one auth method and one auth config.
type fixedState struct {
	method   authmethod.Method
	reviewer Reviewer
	sessions *session.Keyring
}

func (s *fixedState) AuthConfig(name string) (*AuthConfig, bool) {
	return &AuthConfig{Name: name, AccessID: accessID, Reviewer: s.reviewer}, name == "k8s-conf"
}
func (s *fixedState) AuthMethod(id string) (*authmethod.Method, bool) {
	return &s.method, id == accessID
}
func (s *fixedState) Sessions() *session.Keyring { return s.sessions }

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
	ring, err := session.NewKeyring(issuer, map[string]*session.Key{accessID: key})
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

func newGateway(t testing.TB, state *fixedState, change func(*Options)) (*Gateway, *records) {
	t.Helper()
	if state.sessions == nil {
		state.sessions = keyring(t)
	}
	kept := &records{}
	o := Options{
		State:   func() State { return state },
		Audit:   audit.NewLog(kept),
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
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
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
			{"another name is no command", "POST", "/get-secret-value", 404, "unknown command: get-secret-value"},
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

func TestLoginRefuses(t *testing.T) {
	t.Parallel()
	base64Of := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	long := "aGVhZA." + strings.Repeat("A", maxToken) + ".c2ln"
	for _, tt := range []struct {
		name, body   string
		status       int
		text, reason string
	}{
		{"no body", "", 400, "not a JSON object", "bad_request"},
		{"a body that is not JSON", "access-id=x", 400, "not a JSON object", "bad_request"},
		{"a list", "[]", 400, "not a JSON object", "bad_request"},
		{"two objects", "{}{}", 400, "not a JSON object", "bad_request"},
		{"an object that breaks off", `{"access-id":"`, 400, "not a JSON object", "bad_request"},
		{"a number for text", `{"access-id":1}`, 400, "field /access-id of the request body can't be a JSON number", "bad_request"},
		{"an object for the token", `{"k8s-service-account-token":{}}`, 400, "can't be a JSON {", "bad_request"},
		{"a field given twice", `{"access-type":"k8s","access-type":"k8s"}`, 400, "not a JSON object", "bad_request"},
		{"text that is not UTF-8", "{\"access-id\":\"\xff\"}", 400, "not a JSON object", "bad_request"},
		{"deep nesting", strings.Repeat(`{"a":`, 20000), 400, "not a JSON object", "bad_request"},
		{"null", "null", 400, "access type [] is not supported", "access_type_not_supported"},
		{"an empty access key", `{"access-type":"access_key","access-id":"` + accessID + `","access-key":""}`, 400, "access type [access_key] is not supported", "access_type_not_supported"},
		{"an access type in another case", strings.Replace(loginBody(aToken), `"k8s"`, `"K8S"`, 1), 400, "access type [K8S] is not supported", "access_type_not_supported"},
		{"an unknown auth config", strings.Replace(loginBody(aToken), "k8s-conf", "x", 1), 401, "k8s auth name [x] not found", "auth_config_not_found"},
		{"an unknown access id", strings.Replace(loginBody(aToken), accessID, "p-x", 1), 401, "access id [p-x] does not belong to k8s auth name [k8s-conf]", "access_id_mismatch"},
		{"a long access id is shortened", strings.Replace(loginBody(aToken), accessID, strings.Repeat("x", 1000), 1), 401, strings.Repeat("x", 128) + "…]", "access_id_mismatch"},
		{"no token", loginBody(""), 400, "k8s-service-account-token is missing", "token_missing"},
		{"a token of white space", loginBody(` \n\t `), 400, "k8s-service-account-token is missing", "token_missing"},
		{"a token that is neither", loginBody("???"), 401, "neither a JWT nor base64", "token_malformed"},
		{"base64 of something else", loginBody(base64Of("hello")), 401, "not a JWT", "token_malformed"},
		{"base64 of nothing", loginBody(base64Of("  ")), 401, "not a JWT", "token_malformed"},
		{"a JWT that is too long", loginBody(long), 401, "too large", "token_too_large"},
		{"base64 of a JWT that is too long", loginBody(base64Of(long)), 401, "too large", "token_too_large"},
		{"a token with JSON in it", loginBody(`a.b\",\"x\":\".c`), 401, "not a JWT", "token_malformed"},
		{"a token that the API server refuses", loginBody(aToken), 401, "failed to validate token: the API server does not accept the token", "token_not_accepted"},
		{"the same in base64, with white space", loginBody(` ` + base64Of("\n"+aToken+"\n") + `\n`), 401, "failed to validate token: the API server does not accept the token", "token_not_accepted"},
		{"unknown fields are ignored", strings.Replace(loginBody(aToken), "{", `{"json":true,"debug":false,"gcp-audience":"x","uid-token":null,"nested":{"a":[1]},`, 1), 401, "does not accept", "token_not_accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, kept := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
			res, text := serve(t, g, http.MethodPost, "/auth", tt.body)
			if res.StatusCode != tt.status || !strings.Contains(text, tt.text) {
				t.Errorf("%d %s, want %d %q", res.StatusCode, text, tt.status, tt.text)
			}
			record := kept.last(t)
			if record["result"] != "denied" || record["reason"] != tt.reason || record["client"] != "192.0.2.1" {
				t.Errorf("audit log %v, want reason %q", record, tt.reason)
			}
			if got := count(t, g.metrics.logins.WithLabelValues("denied", tt.reason)); got != 1 {
				t.Errorf("counted %v times", got)
			}
		})
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
	for _, path := range []string{"/auth", "/validate-token", "/describe-sub-claims"} {
		res, _ := serve(t, g, http.MethodPost, path, strings.Repeat(" ", maxBody+1))
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s with a length: %d", path, res.StatusCode)
		}
		recorder := httptest.NewRecorder()
		endless := io.MultiReader(strings.NewReader(`{"x":"`), endlessReader{})
		g.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, path, endless))
		if recorder.Code != http.StatusRequestEntityTooLarge || recorder.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s without a length: %d", path, recorder.Code)
		}
	}
}

type endlessReader struct{}

func (endlessReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestLoginFailures(t *testing.T) {
	t.Parallel()
	failure := func(reason review.Reason, wait time.Duration) reviewerFunc {
		return func(context.Context) error {
			return &review.Failure{Reason: reason, Detail: "inner detail", RetryAfter: wait}
		}
	}
	for _, tt := range []struct {
		name         string
		reviewer     reviewerFunc
		status       int
		retry        string
		text, reason string
	}{
		{"an API server that can't be reached", failure(review.ReasonUnreachable, 0), 503, "2", "can't reach the Kubernetes API server", "api_server_unreachable"},
		{"an API server that asks for time", failure(review.ReasonThrottled, 9*time.Second), 503, "9", "can't review it at the moment", "api_server_throttled"},
		{"an API server that fails", failure(review.ReasonServerError, 0), 503, "2", "can't review it at the moment", "api_server_error"},
		{"a reviewer that may not", failure(review.ReasonReviewerForbidden, 0), 503, "10", "its administrator finds the reason", "reviewer_forbidden"},
		{"a defect", func(context.Context) error { return errors.New("inner detail") }, 500, "", "internal error", "internal_error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, kept := newGateway(t, &fixedState{reviewer: tt.reviewer}, nil)
			res, text := serve(t, g, http.MethodPost, "/auth", loginBody(aToken))
			if res.StatusCode != tt.status || res.Header.Get("Retry-After") != tt.retry || !strings.Contains(text, tt.text) {
				t.Errorf("%d, Retry-After %q, %s", res.StatusCode, res.Header.Get("Retry-After"), text)
			}
			if strings.Contains(text, "inner detail") {
				t.Error("the caller reads the detail")
			}
			if record := kept.last(t); record["result"] != "failed" || record["reason"] != tt.reason || record["detail"] != "inner detail" {
				t.Errorf("audit log %v", record)
			}
		})
	}
	t.Run("a panic is answered and counted", func(t *testing.T) {
		t.Parallel()
		g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(func(context.Context) error { panic("secret") })}, nil)
		res, text := serve(t, g, http.MethodPost, "/auth", loginBody(aToken))
		if res.StatusCode != http.StatusInternalServerError || strings.Contains(text, "secret") || count(t, g.metrics.panics) != 1 {
			t.Errorf("%d %s", res.StatusCode, text)
		}
		if n := len(g.limit.slots); n != 0 {
			t.Errorf("%d turns are lost", n)
		}
	})
	t.Run("a login that can't be recorded is refused", func(t *testing.T) {
		t.Parallel()
		g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, func(o *Options) { o.Audit = noAudit{} })
		res, text := serve(t, g, http.MethodPost, "/auth", loginBody(aToken))
		if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "can't record logins") {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	})
	t.Run("without a configuration there is no login", func(t *testing.T) {
		t.Parallel()
		g, _ := newGateway(t, &fixedState{}, func(o *Options) {
			o.State = func() State { return nil }
			o.Ready = func() error { return errors.New("no valid configuration yet") }
		})
		for path, method := range map[string]string{"/auth": "POST", "/.well-known/jwks.json": "GET", "/readyz": "GET"} {
			if res, text := serve(t, g, method, path, "{}"); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "configuration") {
				t.Errorf("%s: %d %s", path, res.StatusCode, text)
			}
		}
	})
}

type noAudit struct{}

func (noAudit) Write(*audit.Event) error { return errors.New("disk full") }

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

func TestLimiter(t *testing.T) {
	t.Parallel()
	newLimiter := func() *limiter {
		return &limiter{slots: make(chan struct{}, 1), maxWaiting: 1, patience: 5 * time.Second}
	}
	t.Run("a login waits for its turn", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			if !l.acquire(t.Context()) {
				t.Fatal("the first does not get in")
			}
			time.AfterFunc(4*time.Second, l.release)
			if !l.acquire(t.Context()) {
				t.Error("the second did not wait")
			}
			l.release()
		})
	})
	t.Run("a login that waited too long is sent away", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			l.acquire(t.Context())
			began := time.Now()
			if l.acquire(t.Context()) || time.Since(began) != 5*time.Second {
				t.Errorf("ended after %s", time.Since(began))
			}
		})
	})
	t.Run("a login behind a full queue is sent away at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			l.acquire(t.Context())
			second := make(chan bool)
			go func() { second <- l.acquire(t.Context()) }()
			synctest.Wait()
			began := time.Now()
			if l.acquire(t.Context()) || time.Since(began) != 0 {
				t.Error("the third waited")
			}
			l.release()
			if !<-second {
				t.Error("the second did not get its turn")
			}
		})
	})
	t.Run("a caller that goes gives its place up", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter()
			l.acquire(t.Context())
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if l.acquire(ctx) || l.waiting.Load() != 0 {
				t.Errorf("%d wait", l.waiting.Load())
			}
		})
	})
}

func TestOverload(t *testing.T) {
	t.Parallel()
	release, entered := make(chan struct{}), make(chan struct{}, 1)
	blocking := reviewerFunc(func(ctx context.Context) error {
		entered <- struct{}{}
		<-release
		return rejecting(ctx)
	})
	g, kept := newGateway(t, &fixedState{reviewer: blocking}, func(o *Options) { o.MaxLogins, o.MaxWaiting, o.Patience = 1, 1, time.Nanosecond })
	var wg sync.WaitGroup
	wg.Go(func() { serve(t, g, http.MethodPost, "/auth", loginBody(aToken)) })
	<-entered
	res, text := serve(t, g, http.MethodPost, "/auth", loginBody(aToken))
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" || !strings.Contains(text, "too many logins") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	if record := kept.last(t); record["reason"] != "overloaded" || record["result"] != "failed" {
		t.Errorf("audit log %v", record)
	}
	close(release)
	wg.Wait()
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

func FuzzAuth(f *testing.F) {
	g, kept := newGateway(f, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
	f.Add([]byte(loginBody(aToken)))
	f.Add([]byte(loginBody(base64.StdEncoding.EncodeToString([]byte(aToken)))))
	f.Add([]byte(`{"access-type":"k8s","k8s-service-account-token":"` + strings.Repeat("A", maxToken+1) + `"}`))
	f.Add([]byte(`{"access-id":"\ud800","access-type":"\u0000"}`))
	f.Add([]byte("{"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		res, text := serve(t, g, http.MethodPost, "/auth", string(body))
		if res.StatusCode != 400 && res.StatusCode != 401 && res.StatusCode != 413 {
			t.Errorf("%d %s", res.StatusCode, text)
		}
		if res.StatusCode == 413 {
			return
		}
		if record := kept.last(t); record["result"] != "denied" || record["reason"] == "" {
			t.Errorf("audit log %v", record)
		}
	})
}
