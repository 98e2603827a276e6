package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/tokenreview"
	"github.com/gatepass/gatepass/gateway/vault"
)

// outside is bound to no auth method, and inside to one.
const (
	inside  = "192.0.2.1" // what httptest gives requests
	outside = "198.51.100.7"
)

// use is a request with a session.
type use struct {
	method, path, body string
	// vault has the session in a header, by Vault's protocol.
	vault bool
}

func (u *use) from(address, token string) *http.Request {
	request := httptest.NewRequest(u.method, u.path, strings.NewReader(strings.ReplaceAll(u.body, "TOKEN", token)))
	request.RemoteAddr = address + ":1234"
	if u.vault {
		request.Header.Set("X-Vault-Token", token)
	}
	return request
}

// uses are all requests that a session can be used for.
func (r *rig) uses() []use {
	var all []use
	commands, _ := r.RouteNames()
	for _, names := range commands {
		for _, name := range names {
			if name != "auth" {
				all = append(all, use{method: http.MethodPost, path: "/" + name, body: `{"token":"TOKEN"}`})
			}
		}
	}
	for _, u := range []use{
		{method: "GET", path: "auth/token/lookup-self"},
		{method: "POST", path: "auth/token/lookup-self"},
		{method: "PUT", path: "auth/token/renew-self"},
		{method: "PUT", path: "auth/token/revoke-self"},
		{method: "GET", path: "auth/kubernetes/config"},
		{method: "POST", path: "auth/kubernetes/config"},
		{method: "DELETE", path: "auth/kubernetes/config"},
		{method: "LIST", path: "auth/kubernetes/role"},
		{method: "GET", path: "auth/kubernetes/role/web"},
		{method: "POST", path: "auth/kubernetes/role/web"},
		{method: "DELETE", path: "auth/kubernetes/role/web"},
		{method: "GET", path: "sys/internal/ui/mounts"},
		{method: "GET", path: "sys/internal/ui/mounts/secret/x"},
		{method: "GET", path: "secret/data/x"},
		{method: "POST", path: "secret/data/x", body: `{"data":{}}`},
		{method: "GET", path: "secret/metadata/x"},
		{method: "LIST", path: "secret/metadata/x"},
		{method: "DELETE", path: "secret/metadata/x"},
	} {
		u.path, u.vault = vault.Prefix+u.path, true
		all = append(all, u)
	}
	return append(all, use{method: http.MethodPost, path: "/" + tokenreview.Path,
		body: `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"TOKEN"}}`})
}

// A session is held to the addresses of its auth method whatever it is used for, by what
// the method says now and not when it was issued.
func TestBoundAddressesAreHeldAtEveryUse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, u := range r.uses() {
		t.Run(u.method+" "+u.path, func(t *testing.T) {
			name := strings.NewReplacer("/", "-", ".", "-").Replace(u.method + u.path)
			token := r.somebody(name)
			serve := func(address string) string {
				recorder := httptest.NewRecorder()
				r.ServeHTTP(recorder, u.from(address, token))
				return recorder.Body.String()
			}
			r.do("update-auth-method", fields{"name": name, "bound-ips": []string{inside + "/24"}})
			before := r.log.len()
			answer := serve(outside)
			const public, denied = "bound ips mismatch", `{"errors":["permission denied"]}`
			if !u.vault && !strings.Contains(answer, public) || u.vault && answer != denied || strings.Contains(answer, `"authenticated":true`) {
				t.Errorf("outside: %s", answer)
			}
			events := r.log.since(before)
			if len(events) != 1 || events[0].Result != audit.Denied || events[0].Reason != string(authmethod.ReasonClientAddress) ||
				events[0].Client != outside || events[0].Session == "" || events[0].Subject == "" || events[0].AccessID == "" {
				t.Errorf("the audit log has %+v", events)
			}
			r.do("update-auth-method", fields{"name": name, "bound-ips": []string{inside + "/24", outside}})
			before = r.log.len()
			answer = serve(outside)
			for _, e := range r.log.since(before) {
				if e.Reason == string(authmethod.ReasonClientAddress) {
					t.Errorf("an address that was added: %s", answer)
				}
			}
		})
	}
}
