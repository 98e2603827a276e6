package vault

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/internal/bodies"
)

const aToken = "head.body.sig"

// rig is a handler and what surrounds it. Its catalog has nothing: what the
// handler does with one, the tests of module test hold against the real gateway.
type rig struct {
	*Handler
	outcome Outcome
	asked   Credentials
	session *Session
	invalid error // what Session says of any token, unless it is nil
	down    error // what Ready says
	as      catalog.Accessor
	busy    bool    // what Turn says
	taken   []Turns // what Turn gave, and
	given   int     // how many of it were given back
	caller  catalog.Caller
}

func newRig(t testing.TB) *rig {
	t.Helper()
	now := time.Now()
	r := &rig{session: &Session{
		Claims: &session.Claims{
			Subject: "system:serviceaccount:ns:web", AccessID: "p-abcdefghij12km", ID: "an-id",
			IssuedAt: now.Unix(), Expiry: now.Add(time.Hour).Unix(),
			SubClaims: map[string][]string{"config_name": {"kubernetes"}, "namespace": {"ns"}, "service_account_name": {"web"}, "service_account_uid": {"u"}},
		},
		Ends:   now.Add(time.Hour).Truncate(time.Second),
		Method: &authmethod.Method{Name: "web", SessionTTL: 15 * time.Minute},
	}}
	h, err := New(Options{
		Login: func(_ *http.Request, c Credentials) Outcome {
			r.asked = c
			if c.Malformed != nil {
				return Outcome{Result: audit.Denied, Reason: "bad-request", Status: http.StatusBadRequest}
			}
			return r.outcome
		},
		Session: func(_ *http.Request, token string) (*Session, error) {
			if r.invalid == nil && token != aToken {
				return nil, errors.New("another token")
			}
			return r.session, r.invalid
		},
		As: func(c catalog.Caller) catalog.Accessor {
			r.caller = c
			return r.as
		},
		Turn: func(_ context.Context, of Turns) (func(), error) {
			if r.busy {
				return nil, errors.New("busy")
			}
			r.taken = append(r.taken, of)
			return func() { r.given++ }, nil
		},
		Bodies:  bodies.New(bodies.Options{Free: UsualBody, Total: 1 << 20, Grace: time.Second}),
		Client:  func(*http.Request) string { return "192.0.2.1" },
		Ready:   func() error { return r.down },
		Version: "1.2.3",
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Handler = h
	return r
}

// grant lets everybody in with the rig's session.
func (r *rig) grant() {
	r.outcome = Outcome{Result: audit.Granted, Reason: "ok", Token: aToken, Claims: r.session.Claims, Method: r.session.Method}
}

// reply is any answer.
type reply struct {
	status int
	header http.Header
	text   string

	Errors    *[]string      `json:"errors"`
	RequestID string         `json:"request_id"`
	Data      map[string]any `json:"data"`
	Auth      map[string]any `json:"auth"`
}

// do sends one request, with the rig's session unless headers name another
// token, and checks what every answer must be like.
func (r *rig) do(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("X-Vault-Token", aToken)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	r.ServeHTTP(recorder, req)
	res := recorder.Result()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := reply{status: res.StatusCode, header: res.Header, text: string(text)}
	if res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %s: Cache-Control %q", method, path, res.Header.Get("Cache-Control"))
	}
	if res.StatusCode == http.StatusNoContent {
		if len(text) > 0 {
			t.Errorf("%s %s: 204 with %q", method, path, text)
		}
		return got
	}
	if res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: content type %q", method, path, res.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%s %s: %v in %q", method, path, err, text)
	}
	if !strings.HasPrefix(path, Prefix+"sys/health") && (got.status >= 400) != (got.Errors != nil) {
		t.Errorf("%s %s: status %d with %s", method, path, got.status, text)
	}
	return got
}

// errors are the answer's, joined.
func (r *reply) errors() string {
	if r.Errors == nil {
		return ""
	}
	return strings.Join(*r.Errors, "; ")
}
