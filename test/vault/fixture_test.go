// Package vault_test holds the gateway's service of Vault's protocol, as a
// process and with a real API server, against Vault's own Go client and the agent.
package vault_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
)

const audience = "gatepass"

var (
	shared   *cluster.Cluster
	commands *product.Product
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	var err error
	commands, err = product.New(context.Background(), product.Gateway, product.Agent)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	defer func() {
		if err := commands.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			code = max(code, 1)
		}
	}()
	return cluster.Main(m, cluster.Options{}, &shared)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// pod makes a namespace with a pod that no node runs; a token can be bound to it
// all the same.
func pod(t testing.TB, name, account string) (namespace string) {
	t.Helper()
	namespace = must(shared.CreateNamespace(t.Context(), "vault", nil))(t)
	if err := shared.EnsureServiceAccount(t.Context(), namespace, account); err != nil {
		t.Fatal(err)
	}
	must(shared.Client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			ServiceAccountName: account,
			Containers:         []corev1.Container{{Name: "app", Image: "registry.invalid/app"}},
		},
	}, metav1.CreateOptions{}))(t)
	return namespace
}

// token is what a kubelet would project.
func token(t testing.TB, r cluster.TokenRequest) string {
	t.Helper()
	if r.Audience == "" {
		r.Audience = audience
	}
	if r.Seconds == 0 {
		r.Seconds = 3600
	}
	return must(shared.PodToken(t.Context(), r))(t)
}

// reviewer is the token of a new service account that may review tokens.
func reviewer(t testing.TB) string {
	t.Helper()
	namespace := must(shared.CreateNamespace(t.Context(), "reviewer", nil))(t)
	bindings := shared.Client.RbacV1().ClusterRoleBindings()
	must(bindings.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "default"}},
	}, metav1.CreateOptions{}))(t)
	t.Cleanup(func() {
		if err := bindings.Delete(context.Background(), namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	// The authorizer learns of a binding through a watch.
	await.Until(t, "the reviewer may review", func() bool {
		_, _, err := shared.Kubectl(t.Context(), "auth", "can-i", "create", "tokenreviews.authentication.k8s.io",
			"--as=system:serviceaccount:"+namespace+":default")
		return err == nil
	})
	return must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: namespace, ServiceAccount: "default", Seconds: 3600}))(t)
}

// gateway is a running gateway.
type gateway struct {
	*product.Server
	ca     *pki.CA
	client *http.Client
	audit  string
	// accessID, accessKey and session are the administrator's.
	accessID, accessKey, session string
}

func startGateway(t testing.TB) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{ca: must(pki.NewCA("vault-test"))(t), audit: filepath.Join(dir, "audit.log")}
	o := product.GatewayOptions{DataDir: filepath.Join(dir, "data"), AuditLog: g.audit, Config: filepath.Join(dir, "config.yaml")}
	if err := os.Mkdir(o.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	const config = "apiVersion: config.gatepass.dev/v1alpha1\nkind: GatewayConfig\nissuer: https://gatepass.example:8000\n"
	if err := os.WriteFile(o.Config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.CertFile, o.KeyFile, err = must(g.ca.Server("127.0.0.1"))(t).Write(dir); err != nil {
		t.Fatal(err)
	}
	credentials := filepath.Join(dir, "admin.json")
	o.ExtraArgs = []string{"--admin-credentials-file=" + credentials}
	g.Server = must(commands.StartGateway(t.Context(), o))(t)
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("gateway's log:\n%s", g.Logs())
		}
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.ca.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	g.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	// The gateway makes its administrator when it is ready, and tells of it before.
	await.Until(t, "the administrator can log in", func() bool {
		g.readAdmin(credentials)
		status, answer := g.request(t, http.MethodPost, "/auth", g.adminLogin())
		g.session, _ = answer["token"].(string)
		return status == http.StatusOK
	}, g.Logs)
	return g
}

// vault is Vault's own client, with a session or without one.
func (g *gateway) vault(t testing.TB, session string) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	if config.Error != nil {
		t.Fatal(config.Error)
	}
	config.Address, config.MaxRetries = g.URL(""), 0
	if err := config.ConfigureTLS(&api.TLSConfig{CACertBytes: g.ca.PEM()}); err != nil {
		t.Fatal(err)
	}
	client := must(api.NewClient(config))(t)
	client.ClearToken()
	if session != "" {
		client.SetToken(session)
	}
	t.Cleanup(client.CloneConfig().HttpClient.CloseIdleConnections)
	return client
}

// admin is Vault's client with the administrator's session.
func (g *gateway) admin(t testing.TB) *api.Client {
	t.Helper()
	return g.vault(t, g.session)
}

func (g *gateway) adminLogin() map[string]any {
	return map[string]any{"access-type": "access_key", "access-id": g.accessID, "access-key": g.accessKey}
}

// v2 calls a command of the V2 API, which must succeed.
func (g *gateway) v2(t testing.TB, path string, body map[string]any) map[string]any {
	t.Helper()
	status, answer := g.request(t, http.MethodPost, path, body)
	if status != http.StatusOK {
		t.Fatalf("POST %s: %d %v", path, status, answer)
	}
	return answer
}

// request sends a body as JSON, and returns the answer's.
func (g *gateway) request(t testing.TB, method, path string, body any, headers ...string) (int, map[string]any) {
	t.Helper()
	raw := must(json.Marshal(body))(t)
	req := must(http.NewRequestWithContext(t.Context(), method, g.URL(path), bytes.NewReader(raw)))(t)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res := must(g.client.Do(req))(t)
	defer func() { _ = res.Body.Close() }()
	text := must(io.ReadAll(res.Body))(t)
	if len(text) == 0 {
		return res.StatusCode, nil
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s %s: %d, %v in %s", method, path, res.StatusCode, err, text)
	}
	return res.StatusCode, answer
}

// mount makes an auth mount, and a role of it. What fields say is added to the
// role.
func mount(t testing.TB, admin *api.Client, name, role, namespace string, fields map[string]any) {
	t.Helper()
	must(admin.Logical().Write("auth/"+name+"/config", map[string]any{
		"kubernetes_host": shared.Host(), "kubernetes_ca_cert": string(shared.CA()), "token_reviewer_jwt": reviewer(t),
	}))(t)
	writeRole(t, admin, name, role, namespace, fields)
}

func writeRole(t testing.TB, admin *api.Client, mount, role, namespace string, fields map[string]any) {
	t.Helper()
	all := map[string]any{"bound_service_account_names": "web", "bound_service_account_namespaces": namespace, "audience": audience}
	for name, value := range fields {
		all[name] = value
	}
	must(admin.Logical().Write("auth/"+mount+"/role/"+role, all))(t)
}

// records are the lines of the audit log.
func (g *gateway) records(t testing.TB) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(string(must(os.ReadFile(g.audit))(t))), "\n")
}

// readAdmin reads what the gateway wrote at its first start.
func (g *gateway) readAdmin(file string) {
	written, err := os.ReadFile(file)
	if err != nil {
		return // not yet
	}
	for line := range strings.Lines(string(written)) {
		if id, ok := strings.CutPrefix(line, "Access ID: "); ok {
			g.accessID = strings.TrimSpace(id)
		}
		if key, ok := strings.CutPrefix(line, "Access Key: "); ok {
			g.accessKey = strings.TrimSpace(key)
		}
	}
}
