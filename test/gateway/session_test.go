package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/test/product"
)

func TestAStockOIDCLibraryVerifiesASession(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	var c configFile
	id, config := c.add(kubernetes(""), gatewayReviewer)
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(t, delegator(t, ns, "gateway"))})
	session := g.login(t, id, config, podToken(t, ns, "mypod1", "web"))
	check(t, g, session, "", "")

	ctx := oidc.ClientContext(t.Context(), g.client)
	provider := must(oidc.NewProvider(ctx, issuer))(t)
	verified := must(provider.Verifier(&oidc.Config{ClientID: id}).Verify(ctx, session.Token))(t)
	if want := "system:serviceaccount:" + ns + ":web"; verified.Subject != want {
		t.Errorf("subject %q, want %q", verified.Subject, want)
	}
	var claims struct {
		AccessID  string              `json:"access_id"`
		SubClaims map[string][]string `json:"sub_claims"`
		ID        string              `json:"jti"`
	}
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if claims.AccessID != id || claims.SubClaims["pod_name"][0] != "mypod1" || audit.SessionHash(claims.ID) != g.lastRecord(t).Session {
		t.Errorf("claims %+v", claims)
	}
	if _, err := provider.Verifier(&oidc.Config{ClientID: "p-anothermethkm"}).Verify(ctx, session.Token); err == nil {
		t.Error("a session of one auth method passes for another's")
	}
	if _, err := provider.Verifier(&oidc.Config{ClientID: id}).Verify(ctx, session.Token[:len(session.Token)-4]+"AAAA"); err == nil {
		t.Error("a session with another signature passes")
	}
}

func TestTwoGatewaysShareKeysThroughASecret(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	access := kubeconfig(t, delegator(t, ns, "gateway"))
	secret := emptySecret(t, ns, "gateway")
	var c configFile
	id, config := c.add(kubernetes(""), gatewayReviewer)
	c.add(kubernetes(""), gatewayReviewer)

	// Both start at the same moment, and both find the Secret empty.
	var gateways [2]*gatewayProcess
	var wg sync.WaitGroup
	for i := range gateways {
		wg.Go(func() {
			gateways[i] = startGateway(t, c.String(), product.GatewayOptions{
				Kubeconfig: access, SigningKeysSecret: ns + "/" + secret, ExtraArgs: []string{"--bootstrap-admin=false"},
			})
		})
	}
	wg.Wait()
	a, b := gateways[0], gateways[1]
	if a == nil || b == nil {
		t.Fatal("a gateway did not start")
	}
	if x, y := get(t, a, "/.well-known/jwks.json"), get(t, b, "/.well-known/jwks.json"); x != y || strings.Count(x, `"kid"`) != 1 {
		t.Errorf("key sets differ:\n%s\n%s", x, y)
	}
	session := a.login(t, id, config, podToken(t, ns, "mypod1", "web"))
	check(t, a, session, "", "")
	got := b.post(t, "/api/v2/validate-token", map[string]string{"token": session.Token})
	if !got.IsValid || got.TTL < 14*60 {
		t.Errorf("the other gateway says %+v", got)
	}
	held := must(shared.Client.CoreV1().Secrets(ns).Get(t.Context(), secret, metav1.GetOptions{}))(t)
	if len(held.Data) != 1 || len(held.Data[keys.SecretEntry]) == 0 {
		t.Errorf("the Secret holds %d entries, want one with the gateways' keys", len(held.Data))
	}
}

// emptySecret makes a Secret that the account may read and update, and
// nothing else.
func emptySecret(t *testing.T, ns, account string) string {
	t.Helper()
	const name = "signing-keys"
	must(shared.Client.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))(t)
	must(shared.Client.RbacV1().Roles(ns).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get", "update"},
		}},
	}, metav1.CreateOptions{}))(t)
	must(shared.Client.RbacV1().RoleBindings(ns).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: account}},
	}, metav1.CreateOptions{}))(t)
	return name
}

func get(t *testing.T, g *gatewayProcess, path string) string {
	t.Helper()
	res := must(g.client.Get(issuer + path))(t)
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, res.Status)
	}
	return string(must(io.ReadAll(res.Body))(t))
}

func TestSessionsSurviveARestart(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	access, data := kubeconfig(t, delegator(t, ns, "gateway")), t.TempDir()
	var c configFile
	id, config := c.add(kubernetes(""), gatewayReviewer)
	first := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: access, DataDir: data})
	session := first.login(t, id, config, podToken(t, ns, "mypod1", "web"))
	check(t, first, session, "", "")
	if err := first.Terminate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if code := must(first.ExitCode(ctx))(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, first.Logs())
	}
	second := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: access, DataDir: data})
	if got := second.post(t, "/validate-token", map[string]string{"token": session.Token}); !got.IsValid {
		t.Errorf("%+v", got)
	}
}

func TestConfigurationIsFollowed(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	var c configFile
	id, config := c.add(kubernetes("boundNamespaces: [other]"), gatewayReviewer)
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(t, delegator(t, ns, "gateway"))})
	check(t, g, g.login(t, id, config, podToken(t, ns, "mypod1", "web")), "namespace-not-bound", "bound namespaces mismatch")

	replace(t, g.config, strings.ReplaceAll(c.String(), "[other]", "["+ns+"]"))
	eventually(t, "the edit to come into use", func() error {
		if got := g.login(t, id, config, podToken(t, ns, "mypod1", "web")); got.status != http.StatusOK {
			return fmt.Errorf("status %d: %s", got.status, got.Error)
		}
		return nil
	})
	replace(t, g.config, "kind: Nonsense\n")
	eventually(t, "the broken edit to be noticed", func() error {
		if v := g.metric(t, "gatepass_gateway_config_last_reload_successful"); v != "0" {
			return fmt.Errorf("gatepass_gateway_config_last_reload_successful is %q", v)
		}
		return nil
	})
	check(t, g, g.login(t, id, config, podToken(t, ns, "mypod1", "web")), "", "")
	eventually(t, "the log to say that the edit is broken", func() error {
		if !strings.Contains(g.Logs(), "the last good one stays in use") {
			return errors.New("it does not")
		}
		return nil
	})
	if v := g.metric(t, `gatepass_gateway_logins_total{reason="namespace-not-bound",result="denied"}`); v == "" {
		t.Error("the refusal was not counted")
	}
}

// replace swaps a file whole, as an editor or a ConfigMap does.
func replace(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}
