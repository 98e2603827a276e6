package login

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/gatetest"
	"github.com/gatepass/gatepass/agent/session"
)

func TestEnded(t *testing.T) {
	t.Parallel()
	const js = "application/json"
	token := podToken(t)
	type row struct {
		name    string
		vault   bool
		handler http.HandlerFunc
		ended   bool
		// reason is the session's end, or the failure of kind.
		reason string
		kind   Kind
	}
	for _, row := range []row{
		{"a good session", false, write(200, js, `{"is_valid":true,"expiration":"2026-01-01T00:00:00Z","ttl":900}`), false, "", 0},
		{"a revoked session, and why", false, write(200, js, `{"is_valid":false,"reason":"the session was revoked"}`), true, "the session was revoked", 0},
		{"a revoked session, and nothing else", false, write(200, js, `{"is_valid":false}`), true, "no reason was given", 0},
		{"a reason that repeats the session", false, write(200, js, `{"is_valid":false,"reason":"`+token+` is bad"}`), true, "[removed] is bad", 0},
		{"an answer that says neither", false, write(200, js, `{"ttl":900}`), false, "does not say whether", Foreign},
		{"an answer of another type", false, write(200, js, `{"is_valid":"no"}`), false, "does not say whether", Foreign},
		{"a gateway that denies the question", false, refuse(401, "unauthorized"), false, "denied the check (401 Unauthorized): unauthorized", Denied},
		{"a server without the command", false, write(404, "text/html", "<html>"), false, "404 Not Found) does not look like a gateway", Foreign},
		{"an overloaded gateway", false, refuse(503, "starting", "Retry-After", "2"), false, "503 Service Unavailable): starting", Failing},
		{"a gateway that hangs up", false, abort, false, "closed the connection early", Unreachable},
		{"a good token of Vault", true, write(200, js, `{"data":{"ttl":900}}`), false, "", 0},
		{"a revoked token of Vault", true, func(w http.ResponseWriter, _ *http.Request) {
			gatetest.VaultRefuse(w, 403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
		}, true, "invalid token", 0},
		{"a revoked token of our gateway", true, func(w http.ResponseWriter, _ *http.Request) {
			gatetest.VaultRefuse(w, 403, "permission denied", "invalid token")
		}, true, "the session has expired or was revoked", 0},
		{"a token that may not look itself up", true, func(w http.ResponseWriter, _ *http.Request) {
			gatetest.VaultRefuse(w, 403, "1 error occurred:\n\t* permission denied\n\n")
		}, false, "permission denied", Denied},
		{"a Vault that answers something else", true, write(200, js, `{}`), false, "does not say whether", Foreign},
		{"a sealed Vault", true, func(w http.ResponseWriter, _ *http.Request) { gatetest.VaultRefuse(w, 503, "Vault is sealed") }, false, "Vault is sealed", Failing},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var line, body, header string
			connections := map[string]bool{}
			url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
				connections[r.RemoteAddr] = true
				data, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				line, body, header = r.Method+" "+r.URL.Path, string(data), r.Header.Get("X-Vault-Token")
				row.handler(w, r)
			})
			c := newClient(t, url, ca.PEM(), time.Minute)
			if row.vault {
				c = newVaultClient(t, url, ca.PEM())
			}
			for range 2 {
				reason, ended, err := c.Ended(t.Context(), session.Session{Token: token})
				if row.kind == 0 {
					if err != nil || ended != row.ended || !strings.Contains(reason, row.reason) {
						t.Errorf("%q, %t, %v", reason, ended, err)
					}
					continue
				}
				failed, ok := errors.AsType[*Error](err)
				if !ok || failed.Kind != row.kind || !strings.Contains(failed.Reason, row.reason) || ended {
					t.Errorf("%T %v, %t", err, err, ended)
				}
			}
			if row.vault {
				if line != "GET /v1/auth/token/lookup-self" || body != "" || header != token {
					t.Errorf("it asked %s with %q and the token %q", line, body, header)
				}
			} else if line != "POST /validate-token" || body != `{"token":"`+token+`"}` {
				t.Errorf("it asked %s with %q", line, body)
			}
			if len(connections) != 2 {
				t.Errorf("two checks used %d connections; the gateway keeps none that long", len(connections))
			}
		})
	}
}

// A session that does not say when it was issued was so by the clock that says
// when it ends.
func TestALifeIsToldByTheServersClockAlone(t *testing.T) {
	t.Parallel()
	there := time.Now().Add(-5 * time.Hour).UTC().Truncate(time.Second)
	url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", there.Format(http.TimeFormat))
		gatetest.Grant(w, "opaque-token", there.Add(15*time.Minute))
	})
	s, err := newClient(t, url, ca.PEM(), 0).Login(t.Context(), podToken(t))
	if err != nil {
		t.Fatal(err)
	}
	if life := s.Expiry.Sub(s.Issued); life != 15*time.Minute {
		t.Errorf("it is said to live %s", life)
	}
}
