package vault

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, path string
		headers            []string
		status             int
		errors             string
	}{
		{"a path that nobody has", "GET", "/v1/sys/mounts", nil, 404, `no handler for route "/v1/sys/mounts"; this gateway does not have it`},
		{"an auth mount without a name", "PUT", "/v1/auth//login", nil, 404, `no handler for route "/v1/auth//login"; this gateway does not have it`},
		{"a method that a path does not have", "DELETE", "/v1/auth/token/lookup-self", nil, 405, "unsupported operation"},
		{"a login is not for GET", "GET", "/v1/auth/kubernetes/login", nil, 405, "unsupported operation"},
		{"only sys/health answers HEAD", "HEAD", "/v1/auth/token/lookup-self", nil, 405, "unsupported operation"},
		{"versions are not deleted on their own", "DELETE", "/v1/secret/data/a", nil, 405, "unsupported operation"},
		{"versions are not restored", "PUT", "/v1/secret/undelete/a", nil, 405, "unsupported operation"},
		{"no token", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Token", ""}, 403, "permission denied"},
		{"an unknown token", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Token", "x"}, 403, "permission denied; invalid token"},
		{"another scheme than Bearer", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Token", "", "Authorization", "Basic " + aToken}, 403, "permission denied"},
		{"a Bearer token", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Token", "", "Authorization", "bearer " + aToken}, 200, ""},
		{"Vault's header counts more", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Token", "x", "Authorization", "Bearer " + aToken}, 403, "permission denied; invalid token"},
		{"the root namespace", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Namespace", "root/"}, 200, ""},
		{"the root namespace by a slash", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Namespace", "/"}, 200, ""},
		{"another namespace", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Namespace", "team-a"}, 404, "namespace not found"},
		{"another namespace, without a token", "PUT", "/v1/auth/kubernetes/login", []string{"X-Vault-Namespace", "root/team-a"}, 404, "namespace not found"},
		{"wrapping", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Wrap-TTL", "60"}, 400, "response wrapping is not supported by this gateway; leave X-Vault-Wrap-TTL out"},
		{"no wrapping", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Wrap-TTL", "0"}, 200, ""},
		{"no wrapping, in seconds", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Wrap-TTL", "0s"}, 200, ""},
		{"wrapping for no time that can be read", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Wrap-TTL", "x"}, 400, "response wrapping is not supported by this gateway; leave X-Vault-Wrap-TTL out"},
		{"the session by POST", "POST", "/v1/auth/token/lookup-self", nil, 200, ""},
		{"with Vault's request header", "GET", "/v1/auth/token/lookup-self", []string{"X-Vault-Request", "true"}, 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := newRig(t).do(t, tt.method, tt.path, "", tt.headers...)
			if got.status != tt.status || got.errors() != tt.errors {
				t.Errorf("%d %s, want %d %s", got.status, got.text, tt.status, tt.errors)
			}
		})
	}
	t.Run("a gateway without a configuration is sealed", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.invalid = ErrSealed
		got := r.do(t, "GET", "/v1/auth/token/lookup-self", "")
		if got.status != http.StatusServiceUnavailable || got.errors() != "Vault is sealed" || got.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	t.Run("who can't be recorded is not answered", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.invalid = catalog.ErrUnrecorded
		if got := r.do(t, "GET", "/v1/auth/token/lookup-self", ""); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	t.Run("the caller is the session", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.do(t, "GET", "/v1/auth/token/lookup-self", "")
		want := catalog.Caller{AccessID: "p-abcdefghij12km", SubClaims: r.session.Claims.SubClaims,
			Subject: "system:serviceaccount:ns:web", Session: "an-id", Life: r.session.Claims.Life(), Client: "192.0.2.1", Protocol: "vault"}
		if diff := cmp.Diff(want, r.caller); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPaths(t *testing.T) {
	t.Parallel()
	h := newRig(t).Handler
	for _, tt := range []struct{ path, mount, name string }{
		{"auth/kubernetes/login", "kubernetes", ""},
		{"auth/eu/cluster-b/login", "eu/cluster-b", ""},
		{"auth/login/login", "login", ""},
		{"auth/kubernetes/config", "kubernetes", ""},
		{"auth/kubernetes/role", "kubernetes", ""},
		{"auth/kubernetes/role/", "kubernetes", ""},
		{"auth/kubernetes/role/web", "kubernetes", "web"},
		{"auth/kubernetes/role/team/web", "kubernetes", "team/web"},
		{"auth/role/role/login", "role", "login"},
		{"secret/data/apps/web", "", "apps/web"},
		{"secret/metadata", "", ""},
		{"secret/metadata/apps/", "", "apps/"},
	} {
		c := &call{}
		if _, ok := h.find(c, tt.path); !ok || c.mount != tt.mount || c.name != tt.name {
			t.Errorf("%s: %v, mount %q, name %q", tt.path, ok, c.mount, c.name)
		}
	}
	for _, path := range []string{"", "auth/", "auth/login", "auth/config", "auth//role/x", "auth/token/lookup", "secret", "secret/", "other/data/x", "secrets/data/x", "sys/init"} {
		if _, ok := h.find(&call{}, path); ok {
			t.Errorf("%q has something", path)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	for path, limit := range map[string]int{"/v1/auth/kubernetes/login": maxBody, "/v1/auth/token/renew-self": maxBody, "/v1/secret/data/a": maxWriteBody} {
		if got := newRig(t).do(t, "PUT", path, strings.Repeat(" ", limit+1)); got.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %s", path, got.status, got.text)
		}
		if got := newRig(t).do(t, "PUT", path, `"`+strings.Repeat("x", limit-2)+`"`); got.status != http.StatusBadRequest {
			t.Errorf("%s with the largest body: %d %s", path, got.status, got.text)
		}
	}
}

func TestRequestsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	body := `{"data":{"a":"` + strings.Repeat("x", UsualBody) + `"}}`
	for _, tt := range []struct {
		name, method, path, body string
		turns                    []Turns
	}{
		{"a list", "LIST", "/v1/secret/metadata/", "", []Turns{Reads, Lists}},
		{"a list of roles", "LIST", "/v1/auth/kubernetes/role", "", []Turns{Reads, Lists}},
		{"a large item", "POST", "/v1/secret/data/a", body, []Turns{Bodies, Changes}},
		{"a small item", "POST", "/v1/secret/data/a", `{"data":{"a":"x"}}`, []Turns{Changes}},
		{"reading", "GET", "/v1/secret/data/a", "", []Turns{Reads}},
		{"deleting", "DELETE", "/v1/secret/metadata/a", "", []Turns{Changes}},
		{"a change without a body", "PUT", "/v1/auth/token/revoke-self", "", []Turns{Changes}},
		{"a body that can't be read waits for none", "PUT", "/v1/secret/data/a", "{", nil},
		{"a probe waits for none", "GET", "/v1/sys/health", "", nil},
		{"a login has turns of its own", "PUT", "/v1/auth/kubernetes/login", `{"role":"web","jwt":"a.b.c"}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.withCatalog(t)
			r.outcome = Outcome{Result: audit.Denied, Status: http.StatusUnauthorized}
			got := r.do(t, tt.method, tt.path, tt.body)
			if diff := cmp.Diff(tt.turns, r.taken); diff != "" || r.given != len(tt.turns) || got.status == http.StatusTooManyRequests {
				t.Errorf("%d %s; %d given back; %s", got.status, got.text, r.given, diff)
			}
			r.busy = true
			got = r.do(t, tt.method, tt.path, tt.body)
			if tooMany := got.status == http.StatusTooManyRequests; tooMany != (len(tt.turns) > 0) || tooMany != (got.header.Get("Retry-After") != "") {
				t.Errorf("%d %s with too many", got.status, got.text)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		status int
		text   string
		retry  bool
	}{
		{catalog.ErrDenied, 403, "permission denied", false},
		{catalog.ErrNotFound, 404, "", false},
		{catalog.ErrInvalid, 400, "invalid", false},
		{catalog.ErrExists, 409, "already exists", false},
		{catalog.ErrReadOnly, 409, "configuration file", false},
		{catalog.ErrInUse, 409, "in use", false},
		{catalog.ErrUnavailable, 503, "store", true},
		{catalog.ErrUnrecorded, 503, "record", true},
		{errors.New("a secret"), 500, "internal error", false},
	} {
		r := newRig(t)
		r.as = revokes{err: tt.err}
		got := r.do(t, "PUT", "/v1/auth/token/revoke-self", "")
		if got.status != tt.status || !strings.Contains(got.errors(), tt.text) || (tt.text == "") != (got.errors() == "") ||
			(got.header.Get("Retry-After") != "") != tt.retry || strings.Contains(got.text, "a secret") {
			t.Errorf("%v: %d %s", tt.err, got.status, got.text)
		}
	}
}

// revokes fails to revoke, and remembers renewals.
type revokes struct {
	catalog.Accessor
	err error
}

func (r revokes) RevokeSession(context.Context, time.Time) error { return r.err }

func TestHealth(t *testing.T) {
	t.Parallel()
	down := errors.New("shutting down")
	for _, tt := range []struct {
		name, method, query string
		down                error
		status              int
	}{
		{"a gateway that is ready is active", "GET", "", nil, 200},
		{"HEAD is answered", "HEAD", "", nil, 200},
		{"a gateway that is not ready is sealed", "GET", "", down, 503},
		{"a caller can choose the code of an active one", "GET", "?activecode=299", nil, 299},
		{"a caller can choose the code of a sealed one", "GET", "?sealedcode=200&activecode=400", down, 200},
		{"204 has no body", "GET", "?sealedcode=204", down, 204},
		{"codes of states that there are not change nothing", "GET", "?standbycode=299&uninitcode=299&standbyok=true", nil, 200},
		{"a code that is none", "GET", "?activecode=ok", nil, 400},
		{"a code that no answer has", "GET", "?activecode=99", nil, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.down = tt.down
			got := r.do(t, tt.method, "/v1/sys/health"+tt.query, "", "X-Vault-Token", "")
			if got.status != tt.status {
				t.Errorf("%d %s", got.status, got.text)
			}
			if got.status != 204 && got.status != 400 && !strings.Contains(got.text, `"initialized":true,"sealed":`+map[bool]string{true: "true", false: "false"}[tt.down != nil]) {
				t.Errorf("body %s", got.text)
			}
		})
	}
	t.Run("seal-status says the same", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.down = down
		if got := r.do(t, "GET", "/v1/sys/seal-status", "", "X-Vault-Token", ""); got.status != 200 || !strings.Contains(got.text, `"sealed":true`) || !strings.Contains(got.text, `"version":"1.2.3"`) {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
}

func TestMounts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for path, status := range map[string]int{"secret": 200, "secret/": 200, "secret/apps/web": 200, "secrets": 403, "cubbyhole/x": 403} {
		got := r.do(t, "GET", "/v1/sys/internal/ui/mounts/"+path, "")
		if got.status != status {
			t.Errorf("%s: %d %s", path, got.status, got.text)
		}
		if status == 200 && (got.Data["path"] != "secret/" || got.Data["type"] != "kv" || !strings.Contains(got.text, `"version":"2"`)) {
			t.Errorf("%s: %s", path, got.text)
		}
	}
	if got := r.do(t, "GET", "/v1/sys/internal/ui/mounts", ""); got.status != 200 || !strings.Contains(got.text, `"secret":{"secret/":{"type":"kv"`) {
		t.Errorf("%d %s", got.status, got.text)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}); err == nil {
		t.Error("a handler without anything")
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	t.Run("a login is passed on and answered as Vault does", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.grant()
		got := r.do(t, "PUT", "/v1/auth/kubernetes/login", `{"role":"web","jwt":" `+aToken+`\n","unknown":1}`, "X-Vault-Token", "")
		if diff := cmp.Diff(Credentials{Mount: "kubernetes", Role: "web", Token: aToken}, r.asked); diff != "" {
			t.Error(diff)
		}
		if got.status != 200 || len(got.RequestID) != 36 || !strings.Contains(got.text, `"lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,"auth":{`) {
			t.Errorf("%d %s", got.status, got.text)
		}
		want := map[string]any{
			"client_token": aToken, "accessor": r.session.accessor(), "policies": []any{"default"}, "token_policies": []any{"default"},
			"metadata": map[string]any{"role": "web", "service_account_name": "web", "service_account_namespace": "ns",
				"service_account_secret_name": "", "service_account_uid": "u"},
			"lease_duration": 3600.0, "renewable": false, "entity_id": "", "token_type": "service", "orphan": true, "mfa_requirement": nil, "num_uses": 0.0,
		}
		if diff := cmp.Diff(want, got.Auth); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a session with a lease can be renewed", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.session.Claims.Lease = r.session.Claims.IssuedAt + 900
		r.grant()
		got := r.do(t, "POST", "/v1/auth/eu/cluster/login", `{"role":"web","jwt":"a.b.c"}`)
		if got.Auth["renewable"] != any(true) || got.Auth["lease_duration"] != 900.0 || r.asked.Mount != "eu/cluster" {
			t.Errorf("%s %+v", got.text, r.asked)
		}
	})
	for _, tt := range []struct {
		name    string
		outcome Outcome
		status  int
		text    string
	}{
		{"a gateway without a configuration", Outcome{Reason: ReasonSealed, Status: 503, RetryAfter: 5 * time.Second}, 503, "Vault is sealed"},
		{"a missing role", Outcome{Reason: ReasonRoleMissing, Status: 400}, 400, "missing role"},
		{"a missing token", Outcome{Reason: ReasonTokenMissing, Status: 400}, 400, "missing jwt"},
		{"an unknown role", Outcome{Reason: ReasonRoleNotFound, Status: 401}, 400, `invalid role name "x"`},
		{"a service account that is not bound", Outcome{Reason: "service-account-not-bound", Status: 401}, 403, "service account name not authorized"},
		{"a namespace that is not bound", Outcome{Reason: "namespace-not-bound", Status: 401}, 403, "namespace not authorized"},
		{"another audience", Outcome{Reason: "audience-mismatch", Status: 401}, 403, "invalid audience (aud) claim: audience claim does not match any expected audience"},
		{"a token that the API server finds meant for somebody else", Outcome{Reason: "token-audience", Status: 401}, 403, "invalid audience (aud) claim: audience claim does not match any expected audience"},
		{"a pod that is not bound", Outcome{Reason: "pod-name-not-bound", Status: 401}, 403, "pod name not authorized"},
		{"a token of no pod", Outcome{Reason: "token-not-pod-bound", Status: 401}, 403, "pod name not authorized"},
		{"a token that the API server refuses", Outcome{Reason: "token-not-accepted", Status: 401, Public: "failed to validate token"}, 403, "permission denied"},
		{"an unknown mount", Outcome{Reason: "auth-config-not-found", Status: 401}, 403, "permission denied"},
		{"too many logins", Outcome{Reason: "overloaded", Status: 429, Public: "too many", RetryAfter: 2 * time.Second}, 429, "too many"},
		{"an API server that does not answer", Outcome{Reason: "api-server-unreachable", Status: 503, Public: "can't reach", RetryAfter: 1500 * time.Millisecond}, 503, "can't reach"},
		{"a defect", Outcome{Reason: "internal-error", Status: 500, Public: "internal error"}, 500, "internal error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.outcome = tt.outcome
			r.outcome.Result = audit.Denied
			got := r.do(t, "PUT", "/v1/auth/kubernetes/login", `{"role":"x","jwt":"a.b.c"}`)
			if got.status != tt.status || got.errors() != tt.text {
				t.Errorf("%d %s", got.status, got.text)
			}
			if wait := got.header.Get("Retry-After"); (tt.outcome.RetryAfter > 0) != (wait != "") {
				t.Errorf("Retry-After %q", wait)
			}
		})
	}
	for name, body := range map[string]string{
		"a body that is not JSON": "role=x", "a list": `[]`, "a role that is a number": `{"role":1}`, "a field that is there twice": `{"role":"a","role":"b"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := newRig(t).do(t, "PUT", "/v1/auth/kubernetes/login", body); got.status != 400 || !strings.HasPrefix(got.errors(), "failed to parse JSON input") {
				t.Errorf("%d %s", got.status, got.text)
			}
		})
	}
}

// Vault's clients write durations in all of these ways.
func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		`""`: 0, `null`: 0, `"0s"`: 0, `60`: time.Minute, `"60"`: time.Minute, `"1h30m"`: 90 * time.Minute,
		`"1d"`: 24 * time.Hour, `"7d"`: 168 * time.Hour, `1e2`: 100 * time.Second, `3600.0`: time.Hour, `"3600.0"`: time.Hour,
	} {
		var got duration
		if err := decode([]byte(text), &got); err != nil || time.Duration(got) != want {
			t.Errorf("%s is %s, %v; want %s", text, time.Duration(got), err, want)
		}
	}
	for _, text := range []string{`-5`, `"-5s"`, `"-1d"`, `1.5`, `"d"`, `"1dd"`, `"soon"`, `1e300`, `"NaN"`, `"Inf"`, `"200000d"`, `[]`, `true`} {
		var got duration
		if err := decode([]byte(text), &got); err == nil {
			t.Errorf("%s is %s", text, time.Duration(got))
		}
	}
}
