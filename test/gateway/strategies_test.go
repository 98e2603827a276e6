package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
)

// The manifests of the documentation of the Kubernetes auth method, by the names
// that it uses. Each strategy has its own subject of the one binding.
const (
	gatewayAccount = `apiVersion: v1
kind: ServiceAccount
metadata:
  name: gateway-sa
  namespace: default
`
	dedicatedAccount = `apiVersion: v1
kind: ServiceAccount
metadata:
  name: gateway-token-reviewer
  namespace: default
---
apiVersion: v1
kind: Secret
metadata:
  name: gateway-token-reviewer-secret
  namespace: default
  annotations:
    kubernetes.io/service-account.name: gateway-token-reviewer
type: kubernetes.io/service-account-token
`
	signingRequest = `apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata:
  name: reviewer-user
spec:
  request: %s
  signerName: kubernetes.io/kube-apiserver-client
  usages:
  - client auth
`
	reviewBinding = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: role-tokenreview-binding
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:auth-delegator
subjects:
- kind: %s
`
)

// administrator runs gatepass as an administrator does, by a profile.
type administrator struct {
	gatepass string
	env      []string
	gateway  string
	ca       string
	audit    string // the gateway's log
}

// run returns what a command prints. It must succeed.
func (a *administrator) run(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	out, complaint, err := a.try(t, stdin, args...)
	if err != nil {
		t.Fatalf("gatepass %q: %v: %s", args, err, complaint)
	}
	return out
}

func (a *administrator) try(t testing.TB, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), a.gatepass, args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = a.env, strings.NewReader(stdin), &out, &complaints
	err = cmd.Run()
	return out.String(), complaints.String(), err
}

// startManaged runs a gateway that is managed through its API, as a service
// account, and logs its administrator in.
func startManaged(t *testing.T, kubeconfig string) *administrator {
	t.Helper()
	built := must(product.New(t.Context(), "gatepass"))(t)
	t.Cleanup(func() {
		if err := built.Close(); err != nil {
			t.Error(err)
		}
	})
	ca := must(pki.NewCA("gateway-test"))(t)
	dir := t.TempDir()
	certFile, keyFile, err := must(ca.Server("127.0.0.1"))(t).Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	credentials := filepath.Join(dir, "admin")
	server := must(commands.StartGateway(t.Context(), product.GatewayOptions{
		DataDir: t.TempDir(), CertFile: certFile, KeyFile: keyFile, Kubeconfig: kubeconfig, AuditLog: filepath.Join(dir, "audit.log"),
		ExtraArgs: []string{"--issuer=" + issuer, "--admin-credentials-file=" + credentials},
	}))(t)
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("gateway's log:\n%s", server.Logs())
		}
	})
	a := &administrator{
		gatepass: built.Path("gatepass"), env: []string{"XDG_CONFIG_HOME=" + t.TempDir()},
		gateway: server.URL(""), ca: file(t, "ca.crt", string(ca.PEM())), audit: filepath.Join(dir, "audit.log"),
	}
	var told [][]byte
	eventually(t, "the administrator's credentials", func() error {
		text, err := os.ReadFile(credentials)
		if told = regexp.MustCompile(`Access ID: (\S+)\nAccess Key: (\S+)\n`).FindSubmatch(text); err == nil && len(told) == 0 {
			return errors.New("they are not written yet")
		}
		return err
	})
	a.run(t, string(told[2]), "configure", "--gateway-url", a.gateway, "--ca-file", a.ca,
		"--access-id", string(told[1]), "--access-type", "access_key", "--access-key-file", "-")
	return a
}

// auth logs in with a service account's token.
func (a *administrator) auth(t *testing.T, accessID, config, token string) (stdout, stderr string, err error) {
	t.Helper()
	return a.try(t, token, "auth", "--access-id", accessID, "--access-type", "k8s", "--gateway-url", a.gateway,
		"--k8s-auth-config-name", config, "--k8s-service-account-token-file", "-")
}

// apply applies a manifest, and takes it away again when the test ends.
func apply(t *testing.T, manifest string) {
	t.Helper()
	kubectl := func(ctx context.Context, args ...string) {
		if _, complaint, err := shared.KubectlInput(ctx, manifest, args...); err != nil {
			t.Errorf("kubectl %q: %v: %s", args, err, complaint)
		}
	}
	t.Cleanup(func() { kubectl(context.Background(), "delete", "--wait=false", "-f", "-") })
	kubectl(t.Context(), "apply", "-f", "-")
}

// bind lets a subject review tokens.
func bind(t *testing.T, subject, user string) {
	t.Helper()
	apply(t, fmt.Sprintf(reviewBinding, subject))
	// The authorizer learns of a binding through a watch.
	eventually(t, "the binding to take effect", func() error {
		_, complaint, err := shared.Kubectl(t.Context(), "auth", "can-i", "create", "tokenreviews.authentication.k8s.io", "--as="+user)
		if err != nil {
			return fmt.Errorf("%w: %s", err, complaint)
		}
		return nil
	})
}

func kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, complaint, err := shared.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatalf("kubectl %q: %v: %s", args, err, complaint)
	}
	return out
}

// runPod makes a pod in a namespace that may exist already: nothing removes
// namespaces here.
func runPod(t *testing.T, namespace, pod string) {
	t.Helper()
	if _, complaint, err := shared.KubectlInput(t.Context(), "{apiVersion: v1, kind: Namespace, metadata: {name: "+namespace+"}}", "apply", "-f", "-"); err != nil {
		t.Fatalf("%v: %s", err, complaint)
	}
	if err := shared.EnsureServiceAccount(t.Context(), namespace, "default"); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "run", pod, "--image=nginx", "-n", namespace)
	t.Cleanup(func() {
		if _, complaint, err := shared.Kubectl(context.Background(), "delete", "pod", pod, "-n", namespace, "--force", "--wait=false"); err != nil {
			t.Errorf("%v: %s", err, complaint)
		}
	})
}

// The documentation's three strategies, command by command. A shell's variables
// are Go's here.
func TestEveryStrategyLetsPodsIn(t *testing.T) {
	t.Parallel()
	apply(t, gatewayAccount)
	a := startManaged(t, kubeconfig(t, tokenFile(t, "default", "gateway-sa")))

	runPod(t, "my-namespace-a", "mypod1")
	runPod(t, "my-namespace-a", "mypod3")
	runPod(t, "my-namespace-b", "mypod1")
	a.run(t, "of-the-app", "create-secret", "-n", "/demo/app/db-password", "--value-file", "-")

	for _, strategy := range []struct {
		name  string
		older bool // the spelling of commands
		flags func(*testing.T) []string
	}{
		{"the gateway's service account", true, func(t *testing.T) []string {
			bind(t, "ServiceAccount\n  name: gateway-sa\n  namespace: default", "system:serviceaccount:default:gateway-sa")
			return []string{"--use-gw-service-account"}
		}},
		{"a dedicated service account", false, dedicated},
		{"a client certificate", false, clientCertificate},
	} {
		t.Run(strategy.name, func(t *testing.T) {
			name := "method-of-" + strings.ReplaceAll(strings.ReplaceAll(strategy.name, " ", "-"), "'", "")
			a.letsIn(t, name, strategy.older, strategy.flags(t))
		})
	}
}

// letsIn walks from an auth method to a pod's secret.
func (a *administrator) letsIn(t *testing.T, name string, older bool, flags []string) {
	t.Helper()
	create := []string{"auth-method", "create", "k8s"}
	if older {
		create = []string{"create-auth-method-k8s"}
	}
	var made struct {
		AccessID string `json:"access_id"`
		Key      string `json:"prv_key"`
	}
	told := a.run(t, "", append(create, "-n", name, "--bound-pod-names", "mypod1", "--bound-pod-names", "mypod2", "--bound-namespaces", "my-namespace-a", "--json")...)
	if err := json.Unmarshal([]byte(told), &made); err != nil {
		t.Fatal(err)
	}
	config := "conf-" + name
	a.run(t, "", append([]string{"gateway-create-k8s-auth-config", "--name", config, "--gateway-url", a.gateway,
		"--access-id", made.AccessID, "--signing-key", made.Key}, flags...)...)
	a.run(t, "", "create-role", "-n", name)
	a.run(t, "", "set-role-rule", "--role-name", name, "--path", "/demo/app/*", "--capability", "read", "--capability", "list")
	a.run(t, "", "assoc-role-am", "--role-name", name, "--am-name", name, "--sub-claims", "namespace=my-namespace-a", "--sub-claims", "service_account_name=default")

	logIn := func(namespace, pod string) (string, string, error) {
		token := must(shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: namespace, ServiceAccount: "default", Pod: pod}))(t)
		return a.auth(t, made.AccessID, config, token)
	}
	out, complaint, err := logIn("my-namespace-a", "mypod1")
	session, ok := strings.CutPrefix(strings.TrimSpace(out), "Authentication succeeded.\nToken: ")
	if err != nil || !ok || strings.ContainsAny(session, " \n") {
		t.Fatalf("%v: %q %s", err, out, complaint)
	}
	var claims struct {
		SubClaims map[string][]string `json:"sub_claims"`
	}
	if err := json.Unmarshal([]byte(a.run(t, "", "describe-sub-claims", "--token", session, "--json")), &claims); err != nil {
		t.Fatal(err)
	}
	for claim, want := range map[string]string{"namespace": "my-namespace-a", "pod_name": "mypod1", "service_account_name": "default", "config_name": config} {
		if diff := cmp.Diff([]string{want}, claims.SubClaims[claim]); diff != "" {
			t.Errorf("%s: %s", claim, diff)
		}
	}
	if got := a.run(t, session, "get-secret-value", "-n", "/demo/app/db-password", "--token-file", "-"); got != "of-the-app\n" {
		t.Errorf("the secret is %q", got)
	}
	for pod, namespace := range map[string]string{"mypod3": "my-namespace-a", "mypod1": "my-namespace-b"} {
		if out, complaint, err := logIn(namespace, pod); err == nil || !strings.Contains(complaint, "unauthorized") {
			t.Errorf("pod %s/%s: %v: %q %s", namespace, pod, err, out, complaint)
		}
	}
}

// otherCluster is how the documentation finds the address and CA of a cluster.
func otherCluster(t *testing.T) []string {
	t.Helper()
	view := func(what string) string {
		return kubectl(t, "config", "view", "--raw", "--minify", "--flatten", "--output", "jsonpath={.clusters[].cluster."+what+"}")
	}
	return []string{"--k8s-host", view("server"), "--k8s-ca-cert", view("certificate-authority-data")}
}

// dedicated is a service account of the gateway's own in the cluster, with a token
// from a Secret.
func dedicated(t *testing.T) []string {
	apply(t, dedicatedAccount)
	bind(t, "ServiceAccount\n  name: gateway-token-reviewer\n  namespace: default", "system:serviceaccount:default:gateway-token-reviewer")
	const secret = "gateway-token-reviewer-secret"
	fillSecret(t, "default", secret, secretToken(t, "default", "gateway-token-reviewer", secret))

	reviewer := kubectl(t, "get", "secret", secret, "--output", "go-template={{ .data.token | base64decode }}")
	return append(otherCluster(t), "--token-reviewer-jwt", reviewer)
}

// clientCertificate is a user of the cluster whose certificate the cluster issued.
func clientCertificate(t *testing.T) []string {
	bind(t, "User\n  name: reviewer-user\n  apiGroup: rbac.authorization.k8s.io", "reviewer-user")
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	request := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "reviewer-user", Organization: []string{"reviewers"}},
	}, key))(t)
	inPEM := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	apply(t, fmt.Sprintf(signingRequest, base64.StdEncoding.EncodeToString(inPEM("CERTIFICATE REQUEST", request))))
	kubectl(t, "certificate", "approve", "reviewer-user")
	signApproved(t, "reviewer-user")
	certificate := kubectl(t, "get", "csr", "reviewer-user", "-o", "jsonpath={.status.certificate}")
	private := inPEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))(t))

	certFile := file(t, "tls.crt", string(must(base64.StdEncoding.DecodeString(certificate))(t)))
	keyFile := file(t, "tls.key", string(private))
	eventually(t, "the API server to know the user", func() error {
		out, complaint, err := shared.Kubectl(t.Context(), "auth", "whoami", "--client-certificate="+certFile, "--client-key="+keyFile)
		if !strings.Contains(out, "reviewer-user") {
			return fmt.Errorf("it says %q %q: %w", out, complaint, errors.Join(err, errors.New("another user, or none")))
		}
		return nil
	})
	return append(otherCluster(t), "--k8s-auth-type", "certificate", "--k8s-client-certificate", certificate,
		"--k8s-client-key", base64.StdEncoding.EncodeToString(private))
}

// signApproved does the work of the controller that signs approved requests, which
// does not run here: with an authority that the API server trusts.
func signApproved(t *testing.T, name string) {
	t.Helper()
	requests := shared.Client.CertificatesV1().CertificateSigningRequests()
	csr := must(requests.Get(t.Context(), name, metav1.GetOptions{}))(t)
	if len(csr.Status.Conditions) != 1 || csr.Status.Conditions[0].Type != "Approved" {
		t.Fatalf("the request is not approved: %+v", csr.Status)
	}
	block, _ := pem.Decode(csr.Spec.Request)
	asked := must(x509.ParseCertificateRequest(block.Bytes))(t)
	if err := asked.CheckSignature(); err != nil {
		t.Fatal(err)
	}
	authority, signer := clientAuthority(t)
	der := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      asked.Subject,
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority, asked.PublicKey, signer))(t)
	csr.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(requests.UpdateStatus(t.Context(), csr, metav1.UpdateOptions{}))(t)
}

// clientAuthority makes an authority for clients and adds it to those that the API
// server trusts. It follows the file.
func clientAuthority(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the cluster's signer"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	trusted := filepath.Join(filepath.Dir(shared.Kubeconfig), "certs", "client-cert-auth-ca.crt")
	both := append(must(os.ReadFile(trusted))(t), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	fresh := file(t, "client-ca.crt", string(both))
	if err := os.Rename(fresh, trusted); err != nil {
		t.Fatal(err)
	}
	return must(x509.ParseCertificate(der))(t), key
}
