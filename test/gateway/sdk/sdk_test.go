//go:build sdk

// Package sdk_test points a public SDK of the V2 API at the gateway, as a process
// and with a real API server. It needs Node.js and the npm registry, so it runs with
// the build tag sdk only: go test -tags sdk ./gateway/sdk
package sdk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
	"github.com/gatepass/gatepass/test/repo"
)

const audience = "gatepass"

var (
	shared   *cluster.Cluster
	commands *product.Product
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	var err error
	commands, err = product.New(context.Background(), product.Gateway)
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

func TestThePublicSDKWorksUnchanged(t *testing.T) {
	t.Parallel()
	namespace := must(shared.CreateNamespace(t.Context(), "sdk", nil))(t)
	g := startGateway(t)
	env := append(os.Environ(),
		"NODE_PATH="+filepath.Join(install(t), "node_modules"), "NODE_EXTRA_CA_CERTS="+g.caFile,
		"GATEWAY_URL="+g.URL(""), "ACCESS_ID="+g.accessID, "ACCESS_KEY="+g.accessKey,
		"K8S_HOST="+shared.Host(), "K8S_CA="+base64.StdEncoding.EncodeToString(shared.CA()), "REVIEWER_JWT="+reviewer(t, namespace),
		"NAMESPACE="+namespace, "AUDIENCE="+audience,
		"POD_TOKEN="+podToken(t, namespace, "mypod1"), "OTHER_POD_TOKEN="+podToken(t, namespace, "another"),
	)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "acceptance.js")
	node.Env = env
	out, err := node.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\nthe gateway's log:\n%s", err, out, g.Logs())
	}
	// That the script ran to its end, it says last.
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := lines[len(lines)-1]; last != fmt.Sprintf("%d steps", len(lines)-1) || len(lines) < 30 {
		t.Errorf("the script ended early:\n%s", out)
	}
}

// install puts the SDK, and what it needs, at the versions of package-lock.json
// into the cache, once.
func install(t testing.TB) string {
	t.Helper()
	lock := must(os.ReadFile("package-lock.json"))(t)
	sum := sha256.Sum256(lock)
	cache := must(repo.Cache())(t)
	dir := filepath.Join(cache, "sdk", hex.EncodeToString(sum[:6]))
	done := filepath.Join(dir, "done")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		if err := os.WriteFile(filepath.Join(dir, name), must(os.ReadFile(name))(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.WriteFile(done, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// gateway is a running gateway with an administrator.
type gateway struct {
	*product.Server
	caFile              string
	accessID, accessKey string
}

func startGateway(t testing.TB) *gateway {
	t.Helper()
	dir := t.TempDir()
	ca := must(pki.NewCA("sdk-test"))(t)
	g := &gateway{caFile: filepath.Join(dir, "ca.crt")}
	o := product.GatewayOptions{DataDir: filepath.Join(dir, "data"), AuditLog: filepath.Join(dir, "audit.log"), Config: filepath.Join(dir, "config.yaml")}
	const config = "apiVersion: config.gatepass.dev/v1alpha1\nkind: GatewayConfig\nissuer: https://gatepass.example:8000\n"
	for _, err := range []error{
		os.Mkdir(o.DataDir, 0o700), os.WriteFile(o.Config, []byte(config), 0o600), os.WriteFile(g.caFile, ca.PEM(), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if o.CertFile, o.KeyFile, err = must(ca.Server("127.0.0.1"))(t).Write(dir); err != nil {
		t.Fatal(err)
	}
	credentials := filepath.Join(dir, "admin")
	o.ExtraArgs = []string{"--admin-credentials-file=" + credentials}
	g.Server = must(commands.StartGateway(t.Context(), o))(t)
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
	await.Until(t, "the administrator's credentials are told", func() bool { return g.readAdmin(credentials) }, g.Logs)
	return g
}

func (g *gateway) readAdmin(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range bytes.Lines(text) {
		if id, ok := strings.CutPrefix(string(line), "Access ID: "); ok {
			g.accessID = strings.TrimSpace(id)
		}
		if key, ok := strings.CutPrefix(string(line), "Access Key: "); ok {
			g.accessKey = strings.TrimSpace(key)
		}
	}
	return g.accessID != "" && g.accessKey != ""
}

// reviewer is the token of a service account that may review tokens.
func reviewer(t testing.TB, namespace string) string {
	t.Helper()
	if err := shared.EnsureServiceAccount(t.Context(), namespace, "reviewer"); err != nil {
		t.Fatal(err)
	}
	must(shared.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "reviewer"}},
	}, metav1.CreateOptions{}))(t)
	// The authorizer learns of a binding through a watch.
	await.Until(t, "the reviewer may review", func() bool {
		_, _, err := shared.Kubectl(t.Context(), "auth", "can-i", "create", "tokenreviews.authentication.k8s.io",
			"--as=system:serviceaccount:"+namespace+":reviewer")
		return err == nil
	})
	return must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: namespace, ServiceAccount: "reviewer", Seconds: 3600}))(t)
}

// podToken is what a kubelet would project into a pod.
func podToken(t testing.TB, namespace, pod string) string {
	t.Helper()
	if err := shared.EnsureServiceAccount(t.Context(), namespace, "web"); err != nil {
		t.Fatal(err)
	}
	must(shared.Client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: pod},
		Spec:       corev1.PodSpec{ServiceAccountName: "web", Containers: []corev1.Container{{Name: "app", Image: "registry.invalid/app"}}},
	}, metav1.CreateOptions{}))(t)
	return must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: namespace, ServiceAccount: "web", Pod: pod, Audience: audience, Seconds: 3600}))(t)
}
