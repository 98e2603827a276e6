package vault_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/cluster"
)

// Each row is an answer that clients of Vault know.
func TestErrors(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	admin := g.admin(t)
	ns, other := pod(t, "web-1", "web"), pod(t, "web-1", "web")
	mount(t, admin, "kubernetes", "web", ns, map[string]any{"bound_pod_names": "web-*"})
	writeRole(t, admin, "kubernetes", "elsewhere", ns, map[string]any{"token_bound_cidrs": "192.0.2.0/24"})
	writeRole(t, admin, "kubernetes", "anywhere", "*", nil)
	if err := shared.EnsureServiceAccount(t.Context(), ns, "db"); err != nil {
		t.Fatal(err)
	}
	bound := cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "web-1"}
	jwt := token(t, bound)
	goneNamespace := pod(t, "web-1", "web")
	gone := token(t, cluster.TokenRequest{Namespace: goneNamespace, ServiceAccount: "web"})
	if err := shared.Client.CoreV1().ServiceAccounts(goneNamespace).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	anotherAudience := bound
	anotherAudience.Audience = "vault"
	// An API server that nobody listens for.
	must(admin.Logical().Write("auth/nowhere/config", map[string]any{
		"kubernetes_host": "https://127.0.0.1:1", "kubernetes_ca_cert": string(shared.CA()), "token_reviewer_jwt": jwt,
	}))(t)
	writeRole(t, admin, "nowhere", "nowhere", ns, nil)

	type credentials map[string]any
	for _, tt := range []struct {
		name, mount string
		body        any
		headers     []string
		status      int
		errors      []any
		reason      string // in the audit log
	}{
		{"no role", "kubernetes", credentials{"jwt": jwt}, nil, 400, []any{"missing role"}, "role-missing"},
		{"no token", "kubernetes", credentials{"role": "web"}, nil, 400, []any{"missing jwt"}, "token-missing"},
		{"neither", "kubernetes", credentials{}, nil, 400, []any{"missing role"}, "role-missing"},
		{"an unknown role", "kubernetes", credentials{"role": "x", "jwt": jwt}, nil, 400, []any{`invalid role name "x"`}, "role-not-found"},
		{"a role of another mount", "nowhere", credentials{"role": "web", "jwt": jwt}, nil, 400, []any{`invalid role name "web"`}, "role-not-found"},
		{"another service account", "kubernetes", credentials{"role": "anywhere", "jwt": token(t, cluster.TokenRequest{Namespace: ns, ServiceAccount: "db"})}, nil,
			403, []any{"service account name not authorized"}, "service-account-not-bound"},
		{"another namespace", "kubernetes", credentials{"role": "web", "jwt": token(t, cluster.TokenRequest{Namespace: other, ServiceAccount: "web", Pod: "web-1"})}, nil,
			403, []any{"namespace not authorized"}, "namespace-not-bound"},
		{"another audience", "kubernetes", credentials{"role": "web", "jwt": token(t, anotherAudience)}, nil,
			403, []any{"invalid audience (aud) claim: audience claim does not match any expected audience"}, "token-audience"},
		{"a token of no pod", "kubernetes", credentials{"role": "web", "jwt": token(t, cluster.TokenRequest{Namespace: ns, ServiceAccount: "web"})}, nil,
			403, []any{"pod name not authorized"}, "token-not-pod-bound"},
		{"another address", "kubernetes", credentials{"role": "elsewhere", "jwt": jwt}, nil, 403, []any{"permission denied"}, "client-address-not-bound"},
		{"no JWT", "kubernetes", credentials{"role": "web", "jwt": "x.y"}, nil, 403, []any{"permission denied"}, "token-malformed"},
		{"a token with another signature", "kubernetes", credentials{"role": "web", "jwt": jwt[:len(jwt)-8] + "AAAAAAAA"}, nil, 403, []any{"permission denied"}, "token-signature"},
		{"a token of a service account that is gone", "kubernetes", credentials{"role": "anywhere", "jwt": gone}, nil, 403, []any{"permission denied"}, "token-revoked"},
		{"an unknown mount", "none", credentials{"role": "web", "jwt": jwt}, nil, 403, []any{"permission denied"}, "auth-config-not-found"},
		{"an unknown namespace", "kubernetes", credentials{"role": "web", "jwt": jwt}, []string{"X-Vault-Namespace", "team-a"}, 404, []any{"namespace not found"}, ""},
		{"a wrapped answer", "kubernetes", credentials{"role": "web", "jwt": jwt}, []string{"X-Vault-Wrap-TTL", "60"}, 400,
			[]any{"response wrapping is not supported by this gateway; leave X-Vault-Wrap-TTL out"}, ""},
		{"an API server that does not answer", "nowhere", credentials{"role": "nowhere", "jwt": jwt}, nil, 503,
			[]any{"failed to validate token: the gateway can't reach the Kubernetes API server, or gets no answer from it"}, "api-server-unreachable"},
		{"a body that is no object", "kubernetes", []string{"x"}, nil, 400, []any{"failed to parse JSON input: it is not a JSON object"}, "bad-request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(g.records(t))
			status, answer := g.request(t, http.MethodPut, "/v1/auth/"+tt.mount+"/login", tt.body, tt.headers...)
			if diff := cmp.Diff(map[string]any{"errors": tt.errors}, answer); status != tt.status || diff != "" {
				t.Errorf("status %d, want %d; %s", status, tt.status, diff)
			}
			added := g.records(t)[before:]
			if tt.reason == "" && len(added) > 0 {
				t.Errorf("recorded %q", added)
			}
			if tt.reason != "" && (len(added) != 1 || !strings.Contains(added[0], `"reason":"`+tt.reason+`"`)) {
				t.Errorf("recorded %q, want the reason %s", added, tt.reason)
			}
		})
	}
	for name, session := range map[string]string{"a token that is no session": "hvs.CAESI", "a Kubernetes token": jwt, "a session with another signature": admin.Token()[:len(admin.Token())-8] + "AAAAAAAA"} {
		t.Run(name, func(t *testing.T) {
			status, answer := g.request(t, http.MethodGet, "/v1/auth/token/lookup-self", nil, "X-Vault-Token", session)
			if diff := cmp.Diff(map[string]any{"errors": []any{"permission denied", "invalid token"}}, answer); status != http.StatusForbidden || diff != "" {
				t.Errorf("status %d; %s", status, diff)
			}
		})
	}
}
