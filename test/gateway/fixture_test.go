// Package gateway_test holds the gateway, as a process, against a real API
// server.
package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
)

// issuer is what the gateways of these tests call themselves. Clients reach it
// by dialing the process's port.
const issuer = "https://gatepass-gateway.gatepass-system.svc:8000"

const audience = "gatepass"

var (
	shared   *cluster.Cluster
	commands *product.Product
	measured figures
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
	code = cluster.Main(m, cluster.Options{}, &shared)
	if err := measured.print(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return max(code, 1)
	}
	return code
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

func namespace(t testing.TB) string {
	t.Helper()
	return must(shared.CreateNamespace(t.Context(), "gateway", nil))(t)
}

// pod creates a pod that no node runs; a token can be bound to it all the same.
func pod(t testing.TB, namespace, name, account string) {
	t.Helper()
	err := shared.EnsureServiceAccount(t.Context(), namespace, account)
	if err != nil {
		t.Fatal(err)
	}
	_, err = shared.Client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			ServiceAccountName: account,
			Containers:         []corev1.Container{{Name: "app", Image: "registry.invalid/app"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// podToken is what a kubelet would project into the pod for the gateway.
func podToken(t testing.TB, namespace, pod, account string) string {
	t.Helper()
	return must(shared.PodToken(t.Context(), cluster.TokenRequest{
		Namespace: namespace, ServiceAccount: account, Pod: pod, Audience: audience, Seconds: 3600,
	}))(t)
}

// delegator makes a service account that may review tokens, and returns a file
// with its token.
func delegator(t testing.TB, namespace, account string) string {
	t.Helper()
	allowReviews(t, namespace, account)
	return tokenFile(t, namespace, account)
}

func allowReviews(t testing.TB, namespace, account string) {
	t.Helper()
	if err := shared.EnsureServiceAccount(t.Context(), namespace, account); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + account},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account}},
	}
	bindings := shared.Client.RbacV1().ClusterRoleBindings()
	must(bindings.Create(t.Context(), binding, metav1.CreateOptions{}))(t)
	t.Cleanup(func() {
		if err := bindings.Delete(context.Background(), binding.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	// The authorizer learns of a binding through a watch.
	eventually(t, "the binding to take effect", func() error {
		_, stderr, err := shared.Kubectl(t.Context(), "auth", "can-i", "create", "tokenreviews.authentication.k8s.io",
			"--as=system:serviceaccount:"+namespace+":"+account)
		if err != nil {
			return fmt.Errorf("%w: %s", err, stderr)
		}
		return nil
	})
}

func tokenFile(t testing.TB, namespace, account string) string {
	t.Helper()
	token := must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: namespace, ServiceAccount: account, Seconds: 3600}))(t)
	return file(t, "token", token)
}

// kubeconfig is the access of a service account with that token file, as a
// pod of the gateway has it.
func kubeconfig(t testing.TB, tokenFile string) string {
	t.Helper()
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["c"] = &clientcmdapi.Cluster{Server: shared.Host(), CertificateAuthority: caFile(t)}
	cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{TokenFile: tokenFile}
	cfg.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	cfg.CurrentContext = "x"
	return file(t, "kubeconfig", string(must(clientcmd.Write(*cfg))(t)))
}

func caFile(t testing.TB) string {
	t.Helper()
	return file(t, "ca.crt", string(shared.CA()))
}

func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// gatewayProcess is a running gateway and a client that trusts it.
type gatewayProcess struct {
	*product.Server

	config, audit string
	bundle        string // certificates that it is verified with
	client        *http.Client
}

// startGateway runs a gateway. What o leaves open gets a default.
func startGateway(t testing.TB, config string, o product.GatewayOptions) *gatewayProcess {
	t.Helper()
	ca := must(pki.NewCA("gateway-test"))(t)
	dir := t.TempDir()
	var err error
	o.CertFile, o.KeyFile, err = must(ca.Server("gatepass-gateway.gatepass-system.svc", "127.0.0.1"))(t).Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := &gatewayProcess{bundle: string(ca.PEM()), config: file(t, "config.yaml", config), audit: filepath.Join(dir, "audit.log")}
	o.Config, o.AuditLog = g.config, g.audit
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	g.Server = must(commands.StartGateway(t.Context(), o))(t)
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("gateway's log:\n%s", g.Logs())
		}
	})
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", g.Port))
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	g.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return g
}

// answer is any answer of the API.
type answer struct {
	status     int
	retryAfter string

	Error      string `json:"error"`
	Token      string `json:"token"`
	Expiration string `json:"expiration"`
	Creds      struct {
		Token  string `json:"token"`
		Expiry int64  `json:"expiry"`
	} `json:"creds"`
	IsValid   bool                `json:"is_valid"`
	TTL       int64               `json:"ttl"`
	Reason    string              `json:"reason"`
	SubClaims map[string][]string `json:"sub_claims"`
}

func (g *gatewayProcess) post(t testing.TB, path string, body map[string]string, headers ...string) answer {
	t.Helper()
	raw := must(json.Marshal(body))(t)
	req := must(http.NewRequestWithContext(t.Context(), http.MethodPost, issuer+path, bytes.NewReader(raw)))(t)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res := must(g.client.Do(req))(t)
	defer func() { _ = res.Body.Close() }()
	if got := res.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("POST %s: content type %q", path, got)
	}
	a := answer{status: res.StatusCode, retryAfter: res.Header.Get("Retry-After")}
	text := must(io.ReadAll(res.Body))(t)
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("POST %s: %v in %s", path, err, text)
	}
	return a
}

func (g *gatewayProcess) login(t testing.TB, accessID, authConfig, token string, headers ...string) answer {
	t.Helper()
	return g.post(t, "/auth", map[string]string{
		"access-id": accessID, "access-type": "k8s",
		"k8s-auth-config-name": authConfig, "k8s-service-account-token": token,
	}, headers...)
}

// record is a line of the audit log.
type record struct {
	Result, Reason, Detail, Client, Subject, Session string
	AuthMethod                                       string `json:"auth_method"`
	PodName                                          string `json:"pod_name"`
}

func (g *gatewayProcess) lastRecord(t testing.TB) record {
	t.Helper()
	return lastRecord(t, g.audit)
}

// lastRecord is an audit log's last line. The gateway writes it before it
// answers.
func lastRecord(t testing.TB, file string) record {
	t.Helper()
	data := must(os.ReadFile(file))(t)
	var last string
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		last = scan.Text()
	}
	var r record
	if err := json.Unmarshal([]byte(last), &r); err != nil {
		t.Fatalf("audit log ends with %q: %v", last, err)
	}
	return r
}

// metric is the value of a series as the gateway exports it, "" if it does not.
func (g *gatewayProcess) metric(t testing.TB, series string) string {
	t.Helper()
	res := must(http.Get(g.Metrics + "/metrics"))(t)
	defer func() { _ = res.Body.Close() }()
	for scan := bufio.NewScanner(res.Body); scan.Scan(); {
		if value, ok := strings.CutPrefix(scan.Text(), series+" "); ok {
			return value
		}
	}
	return ""
}

// eventually polls until a condition holds.
func eventually(t testing.TB, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s for %s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// configFile starts a GatewayConfig; methods and auth configs follow.
type configFile struct {
	methods, configs strings.Builder
	count            int
}

// add appends an auth method and an auth config that belong together. The
// texts are YAML, indented by four. It returns the access id and the auth
// config's name.
func (c *configFile) add(method, authConfig string) (accessID, name string) {
	c.count++
	accessID, name = fmt.Sprintf("p-test%08dkm", c.count), fmt.Sprintf("conf-%d", c.count)
	fmt.Fprintf(&c.methods, "  - name: method-%d\n    accessID: %s\n%s\n", c.count, accessID, strings.TrimRight(method, "\n"))
	fmt.Fprintf(&c.configs, "  - name: %s\n    accessID: %s\n%s\n", name, accessID, strings.TrimRight(authConfig, "\n"))
	return accessID, name
}

func (c *configFile) String() string {
	return "apiVersion: config.gatepass.dev/v1alpha1\nkind: GatewayConfig\nissuer: " + issuer +
		"\nauthMethods:\n" + c.methods.String() + "kubernetesAuthConfigs:\n" + c.configs.String()
}

const gatewayReviewer = "    reviewer: {type: gateway}"

func kubernetes(rules string) string {
	return "    kubernetes: {audience: " + audience + ", " + rules + "}"
}
