package login

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/gatetest"
	"github.com/gatepass/gatepass/agent/session"
)

const vaultToken = "hvs.CAESIJlonglonglonglonglonglong"

func newVaultClient(t *testing.T, url, ca string) *Client {
	t.Helper()
	c, err := New(Options{
		Protocol: config.ProtocolVault, URL: url, CABundle: ca,
		Role: "my-role", AuthPath: "/auth/cluster-b/", Namespace: "team-a", UserAgent: "gatepass-agent/test",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// recorded is what a Vault server saw.
type recorded struct {
	line, body string
	header     http.Header
}

func record(t *testing.T, into *recorded, then http.HandlerFunc) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*into = recorded{r.Method + " " + r.URL.Path, string(body), r.Header.Clone()}
		then(w, r)
	}
}

func (r recorded) check(t *testing.T, line, body, token string) {
	t.Helper()
	if r.line != line {
		t.Errorf("request is %s, want %s", r.line, line)
	}
	var got, want any
	if r.body != "" {
		if err := json.Unmarshal([]byte(r.body), &got); err != nil {
			t.Errorf("body is %q: %v", r.body, err)
		}
	}
	if body != "" {
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if _, typed := r.header["Content-Type"]; typed {
		t.Error("there is a content type, which Vault's own clients do not send")
	}
	for name, want := range map[string]string{"X-Vault-Request": "true", "X-Vault-Namespace": "team-a", "X-Vault-Token": token, "X-Vault-Wrap-TTL": ""} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestVaultLogin(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "/", "/v1", "/v1/"} {
		t.Run("the request under \""+prefix+"\" is what Vault's own clients send", func(t *testing.T) {
			t.Parallel()
			identity := podToken(t)
			var seen recorded
			url, ca := gatetest.NewServer(t, record(t, &seen, func(w http.ResponseWriter, _ *http.Request) {
				gatetest.VaultGrant(w, gatetest.VaultAuth{Token: vaultToken, Lease: time.Hour, Renewable: true})
			}))
			s, err := newVaultClient(t, url+prefix, ca.PEM()).Login(t.Context(), identity)
			if err != nil {
				t.Fatal(err)
			}
			seen.check(t, "PUT /v1/auth/cluster-b/login", `{"role":"my-role","jwt":"`+identity+`"}`, "")
			if s.Token != vaultToken || s.Expiry.Sub(s.Issued) != time.Hour || !s.Renewable || s.Gateway != url+prefix ||
				s.Metadata["service_account_namespace"] != "my-ns" || len(s.Policies) != 2 {
				t.Errorf("session is %+v", s)
			}
		})
	}
	for name, a := range map[string]gatetest.VaultAuth{
		"a batch token, whatever is said of it,": {Token: vaultToken, Lease: time.Hour, Renewable: true, Type: "batch"},
		"a token with a batch token's prefix":    {Token: "hvb.AAAA", Lease: time.Hour, Renewable: true},
		"a token of few uses":                    {Token: vaultToken, Lease: time.Hour, Renewable: true, Uses: 3},
		"a token that is not renewable":          {Token: vaultToken, Lease: time.Hour},
	} {
		t.Run(name+" is not renewed", func(t *testing.T) {
			t.Parallel()
			url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "renew") {
					t.Error("it was tried")
				}
				gatetest.VaultGrant(w, a)
			})
			c := newVaultClient(t, url, ca.PEM())
			s, err := c.Login(t.Context(), podToken(t))
			if err != nil || s.Renewable {
				t.Fatalf("renewable is %v, %v", s.Renewable, err)
			}
			_, err = c.Renew(t.Context(), s)
			if failure := requireError(t, err); failure.Kind != Denied {
				t.Errorf("kind is %d", failure.Kind)
			}
		})
	}
	t.Run("a lease of zero is a session without an end", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) {
			gatetest.VaultGrant(w, gatetest.VaultAuth{Token: vaultToken})
		})
		s, err := newVaultClient(t, url, ca.PEM()).Login(t.Context(), podToken(t))
		if err != nil || !s.Expiry.IsZero() {
			t.Errorf("expiry is %v, %v", s.Expiry, err)
		}
	})
}

func vaultRefuse(status int, errors ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { gatetest.VaultRefuse(w, status, errors...) }
}

func TestVaultErrors(t *testing.T) {
	t.Parallel()
	const js = "application/json"
	for _, tt := range []hostile{
		{"a missing role is denied", vaultRefuse(400, "missing role"), Denied, "(400 Bad Request): missing role", 0},
		{"an unknown role is denied", vaultRefuse(400, `invalid role name "x"`), Denied, `invalid role name "x"`, 0},
		{"a wrong service account is denied", vaultRefuse(403, "service account name not authorized"), Denied, "(403 Forbidden): service account name not authorized", 0},
		{"a wrong namespace is denied", vaultRefuse(403, "namespace not authorized"), Denied, "namespace not authorized", 0},
		{"a wrong audience is denied", vaultRefuse(403, "invalid audience (aud) claim: audience claim does not match any expected audience"), Denied, "invalid audience (aud) claim", 0},
		{"a failed review is denied, with what to check", vaultRefuse(403, "permission denied"), Denied, "permission denied; the server could not have the pod's token reviewed, or does not know auth/cluster-b and the namespace team-a", 0},
		{"several errors are all passed on", vaultRefuse(400, "one", "two"), Denied, "one; two", 0},
		{"an unknown namespace is denied", vaultRefuse(404, "namespace not found"), Denied, "namespace not found; check the auth path auth/cluster-b and the namespace team-a", 0},
		{"an unknown path without a text is denied", vaultRefuse(404), Denied, "(404 Not Found): check the auth path auth/cluster-b", 0},
		{"a denial without a text is denied", vaultRefuse(400), Denied, "no reason was given", 0},
		{"a sealed server is failing", vaultRefuse(503, "Vault is sealed"), Failing, "failing (503 Service Unavailable): Vault is sealed", 0},
		{"a server that has not caught up is failing", vaultRefuse(412, "required index state not present"), Failing, "required index state", 0},
		{"a limit is failing", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3")
			gatetest.VaultRefuse(w, 429, "request path \"auth/cluster-b/login\": rate limit quota exceeded")
		}, Failing, "quota exceeded", 3 * time.Second},
		{"a standby's redirect is refused", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://leader.example/v1/auth/cluster-b/login")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, Foreign, "redirect (307) to \"https://leader.example\"", 0},
		{"a wrapped answer is refused", write(200, js, `{"wrap_info":{"token":"hvs.wrapping","ttl":300,"creation_path":"auth/kubernetes/login"},"auth":null}`), Denied, "wrapped its answer (wrap_info)", 0},
		{"an answer without auth is no Vault", write(200, js, `{"request_id":"x","data":{},"auth":null}`), Foreign, "holds no auth", 0},
		{"an answer without a token is no Vault", write(200, js, `{"auth":{"client_token":""}}`), Foreign, "no session token", 0},
		{"a token with a line end is refused", write(200, js, `{"auth":{"client_token":"a\n"}}`), Foreign, "characters that no token has", 0},
		{"a lease that is no number is no Vault", write(200, js, `{"auth":{"client_token":"a","lease_duration":"1h"}}`), Foreign, "not the JSON of a Vault server", 0},
		{"HTML is no Vault", write(200, "text/html", `<html>`), Foreign, "not the JSON of a Vault server", 0},
		{"an error of another shape is no Vault", write(403, js, `{"error":"no"}`), Foreign, "does not look like a gateway", 0},
		{"204 is no login", write(204, js, ``), Foreign, "204 No Content", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, ca := gatetest.NewServer(t, tt.handler)
			_, err := newVaultClient(t, url, ca.PEM()).Login(t.Context(), podToken(t))
			failure := requireError(t, err)
			if failure.Kind != tt.kind || !strings.Contains(failure.Reason, tt.reason) || failure.RetryAfter != tt.wait {
				t.Errorf("got kind %d, wait %v: %s\nwant kind %d, wait %v: %s", failure.Kind, failure.RetryAfter, failure.Reason, tt.kind, tt.wait, tt.reason)
			}
			if strings.Contains(failure.Reason, "hvs.wrapping") {
				t.Errorf("a token is in the reason: %s", failure.Reason)
			}
		})
	}
}

func TestVaultRenewalAndRevocation(t *testing.T) {
	t.Parallel()
	held := session.Session{Token: vaultToken, Renewable: true}
	t.Run("a renewal is asked for as Vault's own clients do", func(t *testing.T) {
		t.Parallel()
		var seen recorded
		url, ca := gatetest.NewServer(t, record(t, &seen, func(w http.ResponseWriter, _ *http.Request) {
			gatetest.VaultGrant(w, gatetest.VaultAuth{Token: vaultToken, Lease: 20 * time.Minute, Renewable: true})
		}))
		s, err := newVaultClient(t, url, ca.PEM()).Renew(t.Context(), held)
		if err != nil {
			t.Fatal(err)
		}
		seen.check(t, "PUT /v1/auth/token/renew-self", `{"increment":0}`, vaultToken)
		if s.Token != vaultToken || s.Expiry.Sub(s.Issued) != 20*time.Minute {
			t.Errorf("session is %+v", s)
		}
	})
	t.Run("an expired token is told apart, and never shown", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, vaultRefuse(403, "permission denied", "invalid token", vaultToken))
		_, err := newVaultClient(t, url, ca.PEM()).Renew(t.Context(), held)
		failure := requireError(t, err)
		if failure.Kind != Denied || !strings.Contains(failure.Reason, "expired or was revoked") || !strings.Contains(failure.Reason, "denied the renewal") || strings.Contains(failure.Reason, vaultToken) {
			t.Errorf("kind %d: %s", failure.Kind, failure.Reason)
		}
	})
	t.Run("a revocation has no body", func(t *testing.T) {
		t.Parallel()
		var seen recorded
		url, ca := gatetest.NewServer(t, record(t, &seen, write(204, "application/json", "")))
		if err := newVaultClient(t, url, ca.PEM()).Revoke(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		seen.check(t, "PUT /v1/auth/token/revoke-self", "", vaultToken)
	})
	t.Run("a gateway's session is revoked by its token, and never renewed", func(t *testing.T) {
		t.Parallel()
		var path, body string
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			path, body = r.Method+" "+r.URL.Path, string(data)
			write(200, "application/json", "{}")(w, r)
		})
		c := newClient(t, url+"/v2", ca.PEM(), 0)
		if err := c.Revoke(t.Context(), held); err != nil || path != "POST /v2/revoke-creds" || body != `{"token":"`+vaultToken+`"}` {
			t.Errorf("%s %s, %v", path, body, err)
		}
		if _, err := c.Renew(t.Context(), held); requireError(t, err).Kind != Denied {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a revocation that is refused says why", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, refuse(404, "unknown command "+vaultToken))
		err := newClient(t, url, ca.PEM(), 0).Revoke(t.Context(), held)
		if failure := requireError(t, err); failure.Kind != Denied || strings.Contains(failure.Reason, vaultToken) || !strings.Contains(failure.Reason, "denied the revocation (404 Not Found)") {
			t.Errorf("got %v", err)
		}
	})
}
