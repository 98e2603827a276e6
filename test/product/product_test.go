package product_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/product"
)

var shared *product.Product

func TestMain(m *testing.M) {
	p, err := product.New(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared = p
	code := m.Run()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if err := p.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

const profiles = `apiVersion: config.gatepass.dev/v1alpha1
kind: InjectorConfig
profiles:
  default:
    gateway: {protocol: gateway, url: "https://gatepass-gateway.gatepass-system.svc:8000"}
    login: {accessID: p-abcdefghij12km, authConfig: k8s-conf}
    token: {audience: gatepass}
    agent: {image: "ghcr.io/gatepass/agent:v0.1.0"}
`

// The API server of this configuration does not exist; nothing here logs in.
const methods = `apiVersion: config.gatepass.dev/v1alpha1
kind: GatewayConfig
issuer: https://127.0.0.1:8000
authMethods:
- name: my-k8s-auth-method
  accessID: p-abcdefghij12km
  kubernetes: {audience: gatepass, boundNamespaces: [my-namespace-a]}
kubernetesAuthConfigs:
- name: k8s-conf
  accessID: p-abcdefghij12km
  host: https://127.0.0.1:1
  caFile: %s
  reviewer: {type: self}
`

// files are what a server needs on disk.
type files struct {
	dir, cert, key, ca string
	client             *http.Client
}

func newFiles(t *testing.T) files {
	t.Helper()
	ca, err := pki.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	f := files{dir: t.TempDir()}
	if f.cert, f.key, err = pair.Write(f.dir); err != nil {
		t.Fatal(err)
	}
	f.ca = f.write(t, "ca.crt", string(ca.PEM()))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	f.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	return f
}

func (f files) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f files) request(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// stop stops a server and checks that it went.
func stop(t *testing.T, s *product.Server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if process.Alive(s.PID()) {
		t.Errorf("process %d is still there", s.PID())
	}
}

func TestTheWebhookServesAndStops(t *testing.T) {
	f := newFiles(t)
	s, err := shared.StartWebhook(t.Context(), product.WebhookOptions{Config: f.write(t, "config.yaml", profiles), CertDir: f.dir})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	const review = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","operation":"CREATE",
"kind":{"version":"v1","kind":"Pod"},"resource":{"version":"v1","resource":"pods"},"namespace":"n",
"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"app","image":"x"}]}}}}`
	status, answer := f.request(t, http.MethodPost, s.URL("/mutate"), review)
	if status != http.StatusOK || !strings.Contains(answer, `"uid":"u-1"`) || !strings.Contains(answer, `"allowed":true`) {
		t.Errorf("got %d %s", status, answer)
	}
	if status, answer := f.request(t, http.MethodGet, s.Metrics+"/metrics", ""); status != http.StatusOK || !strings.Contains(answer, "gatepass_") {
		t.Errorf("metrics: got %d without a gatepass_ metric", status)
	}
}

func TestTheGatewayServesAndStops(t *testing.T) {
	f := newFiles(t)
	s, err := shared.StartGateway(t.Context(), product.GatewayOptions{
		Config: f.write(t, "config.yaml", fmt.Sprintf(methods, f.ca)), DataDir: t.TempDir(), CertFile: f.cert, KeyFile: f.key,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	status, answer := f.request(t, http.MethodGet, s.URL("/.well-known/openid-configuration"), "")
	if status != http.StatusOK || !strings.Contains(answer, `"issuer":"https://127.0.0.1:8000"`) {
		t.Errorf("got %d %s", status, answer)
	}
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	f := newFiles(t)
	s, err := shared.StartWebhook(t.Context(), product.WebhookOptions{Config: f.write(t, "config.yaml", "kind: Nonsense\n"), CertDir: f.dir})
	if err == nil {
		stop(t, s)
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "InjectorConfig") {
		t.Errorf("the error does not name the cause: %v", err)
	}
}

func TestExactlyOneWayToCertificates(t *testing.T) {
	if _, err := shared.StartWebhook(t.Context(), product.WebhookOptions{}); err == nil {
		t.Error("started without certificates")
	}
	both := product.GatewayOptions{CertFile: "x", KeyFile: "y", SelfManaged: &product.SelfManaged{}}
	if _, err := shared.StartGateway(t.Context(), both); err == nil {
		t.Error("started with two ways to certificates")
	}
}

func TestTheAgentReportsHowItEnded(t *testing.T) {
	result, err := shared.RunAgent(t.Context(), product.AgentOptions{Env: []string{"GATEPASS_GATEWAY_URL=http://127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode == 0 {
		t.Errorf("it accepted an address without TLS: %+v", result)
	}
	for where, text := range map[string]string{"log": result.Logs, "termination message": result.TerminationMessage} {
		if !strings.Contains(text, "GATEPASS_GATEWAY_URL") {
			t.Errorf("the %s does not name the variable: %q", where, text)
		}
	}
}
