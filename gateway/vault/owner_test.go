package vault

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/catalog"
)

// A tenant made an auth config of a name that an administrator takes for a mount's. What
// the administrator writes there would be the tenant's to change.
func TestAMountTakesNoAuthMethodsConfig(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	admin, _ := r.withCatalog(t)
	ctx := t.Context()
	tenant, err := admin.CreateMethod(ctx, catalog.Method{Name: "tenant/web", Type: catalog.TypeK8s})
	if err != nil {
		t.Fatal(err)
	}
	const host = "https://tenant.example"
	if _, err := admin.CreateAuthConfig(ctx, catalog.AuthConfig{Name: "kubernetes", AccessID: tenant.AccessID, Host: host, Reviewer: catalog.ReviewerSelf}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, method, path, body string }{
		{"its config", "POST", "auth/kubernetes/config", `{"kubernetes_host":"https://k8s.example","token_reviewer_jwt":"a.b.c"}`},
		{"the end of it", "DELETE", "auth/kubernetes/config", ""},
		{"a role", "POST", "auth/kubernetes/role/ops", `{"bound_service_account_names":"*","bound_service_account_namespaces":"*"}`},
	} {
		got := r.do(t, tt.method, Prefix+tt.path, tt.body)
		if got.status != http.StatusConflict || !strings.Contains(got.errors(), "access id "+tenant.AccessID) {
			t.Errorf("%s: %d %s", tt.name, got.status, got.text)
		}
	}
	if c, err := admin.AuthConfig(ctx, "kubernetes"); err != nil || c.Host != host || c.Reviewer != catalog.ReviewerSelf || c.AccessID != tenant.AccessID {
		t.Errorf("%+v, %v", c, err)
	}
	// The auth method itself can be reached through its config.
	if got := r.do(t, "POST", Prefix+"auth/kubernetes/role/tenant/web", `{"token_ttl":60}`); got.status != http.StatusNoContent {
		t.Errorf("its own role: %d %s", got.status, got.text)
	}
}

// A config is written whole, so that the token of a reviewer goes to no server that it was
// not written together with.
func TestAReviewersTokenGoesWithItsConfig(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.withCatalog(t)
	const path = Prefix + "auth/kubernetes/config"
	with := `{"kubernetes_host":"https://k8s.example","token_reviewer_jwt":"a.b.c"}`
	for name, body := range map[string]string{
		"another host": `{"kubernetes_host":"https://evil.example","disable_local_ca_jwt":true}`,
		"no host":      `{"disable_local_ca_jwt":true}`,
	} {
		for _, write := range []string{with, body} {
			if got := r.do(t, "POST", path, write); got.status != http.StatusNoContent {
				t.Fatalf("%s: %d %s", name, got.status, got.text)
			}
		}
		if got := r.do(t, "GET", path, ""); fmt.Sprint(got.Data["token_reviewer_jwt_set"]) != "false" || got.Data["kubernetes_host"] == "https://k8s.example" {
			t.Errorf("%s: %s", name, got.text)
		}
	}
}
