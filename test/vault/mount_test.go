package vault_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/gatepass/gatepass/test/cluster"
)

func TestAdministeringAMount(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	admin := g.admin(t)
	ns := pod(t, "web-1", "web")
	for _, role := range []string{"one", "two", "three"} {
		g.readers(t, admin, role, "read")
	}
	mount(t, admin, "eu/cluster-b", "web", ns, map[string]any{"token_policies": "one,two", "token_ttl": 600, "token_bound_cidrs": "127.0.0.0/8"})
	writeRole(t, admin, "eu/cluster-b", "db", ns, nil)
	jwt := token(t, cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "web-1"})

	t.Run("a config is read without its secret", func(t *testing.T) {
		got := must(admin.Logical().Read("auth/eu/cluster-b/config"))(t)
		want := map[string]any{"kubernetes_host": shared.Host(), "kubernetes_ca_cert": string(shared.CA()), "issuer": "", "disable_iss_validation": true,
			"disable_local_ca_jwt": false, "token_reviewer_jwt_set": true, "pem_keys": []any{}, "use_annotations_as_alias_metadata": false}
		if diff := cmp.Diff(want, got.Data); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a role is read as it was written", func(t *testing.T) {
		got := must(admin.Logical().Read("auth/eu/cluster-b/role/web"))(t)
		for field, want := range map[string]any{"bound_service_account_names": []any{"web"}, "bound_service_account_namespaces": []any{ns}, "bound_pod_names": []any{},
			"audience": audience, "token_policies": []any{"one", "two"}, "token_bound_cidrs": []any{"127.0.0.0/8"}} {
			if diff := cmp.Diff(want, got.Data[field]); diff != "" {
				t.Errorf("%s: %s", field, diff)
			}
		}
		if ttl := number(t, got.Data["token_ttl"]); ttl != 600 {
			t.Errorf("token_ttl %d", ttl)
		}
	})
	t.Run("a mount has its roles", func(t *testing.T) {
		if diff := cmp.Diff([]any{"db", "web"}, must(admin.Logical().List("auth/eu/cluster-b/role"))(t).Data["keys"]); diff != "" {
			t.Error(diff)
		}
		if got := must(admin.Logical().List("auth/other/role"))(t); got != nil {
			t.Errorf("another mount has %v", got.Data)
		}
		if got := must(admin.Logical().Read("auth/other/role/web"))(t); got != nil {
			t.Errorf("another mount has %v", got.Data)
		}
		_, err := admin.Logical().Write("auth/other/role/web", map[string]any{"bound_service_account_names": "*", "bound_service_account_namespaces": "*"})
		refused(t, err, http.StatusBadRequest, `there is an auth method "web" that does not belong to auth/other; choose another name`)
	})
	t.Run("several roles log in through one mount", func(t *testing.T) {
		for _, role := range []string{"web", "db"} {
			if given := login(t, g.vault(t, ""), "eu/cluster-b", role, jwt); given.Auth.Metadata["role"] != role {
				t.Errorf("%+v", given.Auth)
			}
		}
	})
	t.Run("what is not sent stays", func(t *testing.T) {
		must(admin.Logical().Write("auth/eu/cluster-b/role/web", map[string]any{"token_policies": "two,three"}))(t)
		got := must(admin.Logical().Read("auth/eu/cluster-b/role/web"))(t)
		if diff := cmp.Diff([]any{"three", "two"}, got.Data["token_policies"]); diff != "" || got.Data["audience"] != audience || number(t, got.Data["token_ttl"]) != 600 {
			t.Errorf("%v", got.Data)
		}
	})
	t.Run("a policy that is no role is refused", func(t *testing.T) {
		_, err := admin.Logical().Write("auth/eu/cluster-b/role/web", map[string]any{"token_policies": "two,three,none"})
		if err == nil {
			t.Error("it is not")
		}
	})
	t.Run("a new role says whom it binds", func(t *testing.T) {
		_, err := admin.Logical().Write("auth/eu/cluster-b/role/new", map[string]any{"bound_service_account_names": "web"})
		refused(t, err, http.StatusBadRequest, `"bound_service_account_namespaces" can not be empty`)
	})
	t.Run("a mount without a config takes no roles", func(t *testing.T) {
		_, err := admin.Logical().Write("auth/new/role/new", map[string]any{"bound_service_account_names": "*", "bound_service_account_namespaces": "*"})
		refused(t, err, http.StatusBadRequest, "there is no auth/new yet; write auth/new/config first")
	})
	t.Run("the gateway's own token goes to no other address", func(t *testing.T) {
		_, err := admin.Logical().Write("auth/new/config", map[string]any{"kubernetes_host": shared.Host(), "kubernetes_ca_cert": string(shared.CA())})
		if err == nil || !strings.Contains(err.Error(), "own cluster only") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a role that is deleted lets nobody in", func(t *testing.T) {
		must(admin.Logical().Delete("auth/eu/cluster-b/role/db"))(t)
		status, answer := g.request(t, http.MethodPut, "/v1/auth/eu/cluster-b/login", map[string]any{"role": "db", "jwt": jwt})
		if diff := cmp.Diff(map[string]any{"errors": []any{`invalid role name "db"`}}, answer); status != http.StatusBadRequest || diff != "" {
			t.Errorf("%d %s", status, diff)
		}
	})
	t.Run("a config that has roles is not deleted", func(t *testing.T) {
		_, err := admin.Logical().Delete("auth/eu/cluster-b/config")
		var answer *api.ResponseError
		if !errors.As(err, &answer) || answer.StatusCode != http.StatusConflict {
			t.Errorf("%v", err)
		}
	})
	t.Run("a config that is deleted ends the mount", func(t *testing.T) {
		must(admin.Logical().Delete("auth/eu/cluster-b/role/web"))(t)
		must(admin.Logical().Delete("auth/eu/cluster-b/config"))(t)
		status, answer := g.request(t, http.MethodPut, "/v1/auth/eu/cluster-b/login", map[string]any{"role": "web", "jwt": jwt})
		if diff := cmp.Diff(map[string]any{"errors": []any{"permission denied"}}, answer); status != http.StatusForbidden || diff != "" {
			t.Errorf("%d %s", status, diff)
		}
	})
}
