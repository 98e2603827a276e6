package tokenreview

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/session"
)

// sessions knows one session.
type sessions struct{ claims session.Claims }

func (s sessions) verify(_ *http.Request, token string) (*session.Claims, error) {
	if token != "good" {
		return nil, errors.New("the session has expired")
	}
	return &s.claims, nil
}

func pod() sessions {
	return sessions{session.Claims{
		Subject: "system:serviceaccount:shop:web", AccessID: "p-abcdefghij12km", ID: "id1",
		SubClaims: map[string][]string{
			"namespace": {"shop"}, "service_account_name": {"web"}, "service_account_uid": {"u1"}, "pod_name": {"web-1"}, "pod_uid": {"u2"},
		},
	}}
}

// noted is an audit log that takes everything.
func noted(*http.Request, string, error) error { return nil }

const question = `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"TOKEN"AUDIENCES}}`

func ask(token, audiences string) string {
	if audiences != "" {
		audiences = `,"audiences":[` + audiences + `]`
	}
	return strings.NewReplacer("TOKEN", token, "AUDIENCES", audiences).Replace(question)
}

func TestReviews(t *testing.T) {
	t.Parallel()
	who := `"user":{"username":"gatepass:p-abcdefghij12km:system:serviceaccount:shop:web","uid":"u1",` +
		`"groups":["gatepass:sessions","gatepass:access-id:p-abcdefghij12km","gatepass:p-abcdefghij12km:namespace:shop"],` +
		`"extra":{"gatepass.dev/access-id":["p-abcdefghij12km"],"gatepass.dev/namespace":["shop"],"gatepass.dev/pod-name":["web-1"],` +
		`"gatepass.dev/pod-uid":["u2"],"gatepass.dev/service-account-name":["web"],"gatepass.dev/session-id":["` + audit.SessionHash("id1") + `"]}}`
	for _, row := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"a session is a user with our prefix", ask("good", ""), 200, `"status":{"authenticated":true,` + who + `}`},
		{"an audience that is not the session's is not confirmed", ask("good", `"https://kubernetes.default.svc"`), 200, `"status":{"authenticated":true,` + who + `}`},
		{"an audience that is the session's is confirmed", ask("good", `"other","p-abcdefghij12km"`), 200, `"audiences":["p-abcdefghij12km"]`},
		{"what is no session is not authenticated, and why", ask("bad", ""), 200, `"status":{"authenticated":false,"error":"the session has expired"}`},
		{"an empty token is not authenticated", ask("", ""), 200, `"authenticated":false`},
		{"the version that API servers begin with is answered in it", strings.Replace(ask("good", ""), "/v1", "/v1beta1", 1), 200, `{"apiVersion":"authentication.k8s.io/v1beta1","kind":"TokenReview",`},
		{"another version is refused", strings.Replace(ask("good", ""), "/v1", "/v2", 1), 400, "is not a TokenReview of authentication.k8s.io/v1"},
		{"another kind is refused", strings.Replace(ask("good", ""), "TokenReview", "Pod", 1), 400, "is not a TokenReview"},
		{"a field of the wrong type is refused", strings.Replace(ask("good", ""), `"good"`, "1", 1), 400, "is not a TokenReview"},
		{"no JSON is refused", "token", 400, "is not a TokenReview"},
		{"a body without end is refused", strings.Repeat(" ", maxBody+1), 413, "more than"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h, err := New(Options{Session: pod().verify, Denied: noted, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			got := httptest.NewRecorder()
			h.ServeHTTP(got, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/k8s/token-review", strings.NewReader(row.body)))
			text := got.Body.String()
			if got.Code != row.status || !strings.Contains(text, row.want) {
				t.Errorf("%d %s, want %d and %s", got.Code, text, row.status, row.want)
			}
			if strings.Contains(text, `"token"`) {
				t.Error("the answer repeats the token")
			}
		})
	}
}

// Who tries tokens that are no sessions is seen in the audit log.
func TestDenialsAreRecordedOrNotAnswered(t *testing.T) {
	t.Parallel()
	var recorded []string
	broken := false
	h, err := New(Options{Session: pod().verify, Logger: slog.New(slog.DiscardHandler),
		Denied: func(_ *http.Request, token string, why error) error {
			recorded = append(recorded, token+": "+why.Error())
			if broken {
				return errors.New("the gateway can't record")
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	status := func(token string) int {
		got := httptest.NewRecorder()
		h.ServeHTTP(got, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(ask(token, ""))))
		if strings.Contains(got.Body.String(), `"authenticated":true`) != (token == "good") {
			t.Errorf("%s: %s", token, got.Body)
		}
		return got.Code
	}
	if got := []int{status("good"), status("bad")}; got[0] != 200 || got[1] != 200 {
		t.Errorf("statuses %d", got)
	}
	if len(recorded) != 1 || recorded[0] != "bad: the session has expired" {
		t.Errorf("recorded %q", recorded)
	}
	broken = true
	if got := status("bad"); got != http.StatusServiceUnavailable {
		t.Errorf("status %d although it is not recorded", got)
	}
}

func TestWithoutAConfigurationTheCallerShallComeAgain(t *testing.T) {
	t.Parallel()
	h, err := New(Options{Session: func(*http.Request, string) (*session.Claims, error) { return nil, ErrNotReady }, Denied: noted, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	got := httptest.NewRecorder()
	h.ServeHTTP(got, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(ask("good", ""))))
	if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q", got.Code, got.Header().Get("Retry-After"))
	}
}

func TestOnlyPostIsTaken(t *testing.T) {
	t.Parallel()
	h, err := New(Options{Session: pod().verify, Denied: noted, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	got := httptest.NewRecorder()
	h.ServeHTTP(got, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
	if got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != http.MethodPost {
		t.Errorf("%d, Allow %q", got.Code, got.Header().Get("Allow"))
	}
}

func FuzzReview(f *testing.F) {
	f.Add([]byte(ask("good", `"a"`)))
	f.Add([]byte(ask("bad", "")))
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := New(Options{Session: pod().verify, Denied: noted, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRecorder()
		h.ServeHTTP(got, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(body))))
		if got.Code == http.StatusInternalServerError {
			t.Error("a body caused an internal error")
		}
		if !strings.Contains(got.Body.String(), `"authenticated":true`) {
			return
		}
		// Another decoder must have read the same token.
		var same struct{ Spec struct{ Token string } }
		if err := json.Unmarshal(body, &same); err != nil || same.Spec.Token != "good" {
			t.Errorf("authenticated with the token %q (%v)", same.Spec.Token, err)
		}
	})
}
