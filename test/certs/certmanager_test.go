package certs_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gatepass/gatepass/certs"
	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/manifests"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/product"
	"github.com/gatepass/gatepass/test/servers"
)

// What the overlay for cert-manager calls its Certificates.
const (
	authorityCertificate = "gatepass-ca"
	webhookCertificate   = "gatepass-webhook"
	gatewayCertificate   = "gatepass-gateway"
)

// secretOf is the Secret that the overlay has cert-manager keep a certificate in.
func secretOf(certificate string) string {
	if certificate == authorityCertificate {
		return certificate
	}
	return certificate + "-tls"
}

// TestAdmissionsGoOnWhileCertManagerRenews has the webhook served with
// certificates of cert-manager's own controllers, as the overlay asks for them,
// and the webhook configuration completed by its injector.
func TestAdmissionsGoOnWhileCertManagerRenews(t *testing.T) {
	installWithCertManager(t)
	replicas := startWebhooks(t, 2, product.WebhookOptions{
		Config:  mountedConfig(t),
		CertDir: startMount(t, secretOf(webhookCertificate), corev1.TLSCertKey, corev1.TLSPrivateKeyKey),
	})
	namespace, err := shared.CreateNamespace(t.Context(), "renewal", nil)
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the API server calls the webhook", func() bool { return admit(t.Context(), namespace) == nil },
		func() string { return fmt.Sprint(admit(t.Context(), namespace)) })

	load := startLoad(t, namespace, replicas)
	authorities := [][]byte{issuerOf(t, webhookCertificate)}
	webhooks, gateways := [][]byte{issued(t, webhookCertificate)}, [][]byte{issued(t, gatewayCertificate)}
	replace := func(phase string, by func(*testing.T, string) []byte) {
		load.mark(phase)
		old := webhooks[len(webhooks)-1]
		by(t, webhookCertificate)
		webhooks = append(webhooks, waitServed(t, replicas, old))
	}
	replace("renewal", renew)
	replace("loss of the Secret", lose)
	load.mark("renewal of the authority")
	renew(t, authorityCertificate)
	replace("renewal by the new authority", renew)
	authorities = append(authorities, issuerOf(t, webhookCertificate))
	gateways = append(gateways, renew(t, gatewayCertificate))
	await.Until(t, "pods get the new authority of the gateway", func() bool {
		agent, err := injected(t.Context(), namespace)
		return err == nil && bytes.Equal(agentBundle(agent), issuerOf(t, gatewayCertificate))
	})
	await.Until(t, "the new authority is in the webhook configuration", func() bool { return bytes.Contains(mustWebhookBundle(t), authorities[1]) },
		func() string { return fmt.Sprintf("the bundle is:\n%s", mustWebhookBundle(t)) })
	load.stop()

	t.Logf("%d admissions and %d handshakes with bundles up to %s old; %d failed",
		load.admissions.Load(), load.handshakes.Load(), staleness, len(load.failures))
	for _, failure := range load.failures {
		t.Error(failure)
	}
	if n := load.admissions.Load(); n < 100 {
		t.Errorf("only %d admissions; that proves little", n)
	}
	if bytes.Equal(authorities[0], authorities[1]) {
		t.Error("the authority is the same after its renewal")
	}
	// An API server, or a pod that runs, may know either authority only.
	for i, authority := range authorities {
		for j := range webhooks {
			if err := trusts(authority, parse(t, webhooks[j]), webhookName); err != nil {
				t.Errorf("authority %d does not verify certificate %d of the webhook: %v", i, j, err)
			}
		}
		for j := range gateways {
			if err := trusts(authority, parse(t, gateways[j]), gatewayName); err != nil {
				t.Errorf("authority %d does not verify certificate %d of the gateway: %v", i, j, err)
			}
		}
	}
}

// installWithCertManager applies cert-manager's definitions, the overlay and
// nothing else, and waits until cert-manager has done its part.
func installWithCertManager(t *testing.T) {
	t.Helper()
	if err := manifests.ApplyCRDs(t.Context(), shared); err != nil {
		t.Fatal(err)
	}
	// Other tests leave a bundle in it, to which the injector would add.
	if _, _, err := shared.Kubectl(t.Context(), "delete", "--ignore-not-found", "mutatingwebhookconfiguration", configuration); err != nil {
		t.Fatal(err)
	}
	rendered, err := manifests.Render(t.Context(), shared, manifests.CertManager)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := shared.KubectlInput(t.Context(), rendered, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if len(mustWebhookBundle(t)) != 0 {
		t.Fatal("the manifests bring a bundle")
	}
	startCertManager(t)
	for _, certificate := range []string{authorityCertificate, webhookCertificate, gatewayCertificate} {
		waitIssued(t, certificate, nil)
	}
	await.Until(t, "the authority is in the webhook configuration",
		func() bool { return bytes.Contains(mustWebhookBundle(t), issuerOf(t, webhookCertificate)) },
		func() string { return fmt.Sprintf("the bundle is:\n%s", mustWebhookBundle(t)) })
}

func startCertManager(t *testing.T) {
	t.Helper()
	dir, err := servers.Ensure(t.Context(), servers.Options{Parts: []string{servers.CertManager}, Out: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := process.NewGuard()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guard.Release(); err != nil {
			t.Error(err)
		}
	})
	controllers, err := process.Start(process.Options{
		Name: servers.CertManager, Path: filepath.Join(dir, servers.CertManager), Guard: guard,
		Args: []string{"--kubeconfig=" + shared.Kubeconfig},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := controllers.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of cert-manager:\n%s", controllers.Logs())
		}
	})
}

// mountedConfig is the profile of the manifests, with the gateway's authority
// mounted as the overlay has it.
func mountedConfig(t *testing.T) string {
	t.Helper()
	const inManifest = "/etc/gatepass/gateway-ca"
	config, err := shared.Client.CoreV1().ConfigMaps(manifests.Namespace).Get(t.Context(), "gatepass-webhook-config", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text := config.Data["config.yaml"]
	if !strings.Contains(text, inManifest) {
		t.Fatalf("the manifests' profile names no %s:\n%s", inManifest, text)
	}
	text = strings.ReplaceAll(text, inManifest, startMount(t, secretOf(gatewayCertificate), certs.BundleKey))
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// agentBundle is what an agent verifies its gateway with.
func agentBundle(agent *corev1.Container) []byte {
	for _, env := range agent.Env {
		if env.Name == "GATEPASS_CA_BUNDLE" {
			return []byte(env.Value)
		}
	}
	return nil
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("no certificate: %q", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// waitServed waits until all replicas serve another certificate than the old
// one, that of the Secret, and returns it.
func waitServed(t *testing.T, replicas []replica, old []byte) []byte {
	t.Helper()
	var cert []byte
	await.Until(t, "all replicas serve the new certificate", func() bool {
		cert = issued(t, webhookCertificate)
		return len(cert) > 0 && !bytes.Equal(cert, old) && !slices.ContainsFunc(replicas, func(r replica) bool {
			got, err := served(t.Context(), r.address(), webhookName, mustWebhookBundle(t))
			return err != nil || !got.Equal(parse(t, cert))
		})
	})
	return cert
}

// renew asks for a new certificate as `cmctl renew` does, and returns it. A
// certificate that is being issued already can't be renewed.
func renew(t *testing.T, certificate string) []byte {
	t.Helper()
	old := waitIssued(t, certificate, nil)
	patch := fmt.Sprintf(`[{"op":"add","path":"/status/conditions/-","value":{"type":"Issuing","status":"True",`+
		`"reason":"ManuallyTriggered","message":"a test wants it","lastTransitionTime":%q}}]`, time.Now().UTC().Format(time.RFC3339))
	if _, err := certificates(t).Patch(t.Context(), certificate, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	return waitIssued(t, certificate, old)
}

// lose deletes a certificate's Secret, and returns the certificate that
// cert-manager replaces it with.
func lose(t *testing.T, certificate string) []byte {
	t.Helper()
	old := issued(t, certificate)
	if err := shared.Client.CoreV1().Secrets(manifests.Namespace).Delete(t.Context(), secretOf(certificate), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	return waitIssued(t, certificate, old)
}

// waitIssued waits until a Certificate is ready with another certificate than
// the old one, and nothing is under way any more.
func waitIssued(t *testing.T, certificate string, old []byte) []byte {
	t.Helper()
	var cert []byte
	var conditions []any
	await.Until(t, "Certificate "+certificate+" is issued", func() bool {
		cert = issued(t, certificate)
		object, err := certificates(t).Get(t.Context(), certificate, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		conditions, _, err = unstructured.NestedSlice(object.Object, "status", "conditions")
		if err != nil {
			t.Fatal(err)
		}
		return len(cert) > 0 && !bytes.Equal(cert, old) && isTrue(conditions, "Ready") && !isTrue(conditions, "Issuing")
	}, func() string { return fmt.Sprintf("conditions: %v", conditions) })
	return cert
}

func isTrue(conditions []any, kind string) bool {
	return slices.ContainsFunc(conditions, func(c any) bool {
		condition, ok := c.(map[string]any)
		return ok && condition["type"] == kind && condition["status"] == "True"
	})
}

// issued is the certificate in the Secret of a Certificate; nil if there is none.
func issued(t *testing.T, certificate string) []byte {
	t.Helper()
	return secretKey(t, certificate, corev1.TLSCertKey)
}

// issuerOf is the authority in the Secret of a Certificate: the one that
// issued it. cert-manager at times issues a new certificate twice, if its cache
// lags behind, so that a certificate may not be of the authority's latest.
func issuerOf(t *testing.T, certificate string) []byte {
	t.Helper()
	return secretKey(t, certificate, certs.BundleKey)
}

func secretKey(t *testing.T, certificate, key string) []byte {
	t.Helper()
	secret, err := shared.Client.CoreV1().Secrets(manifests.Namespace).Get(t.Context(), secretOf(certificate), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return secret.Data[key]
}

func certificates(t *testing.T) dynamic.ResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(shared.Config)
	if err != nil {
		t.Fatal(err)
	}
	return client.Resource(schema.GroupVersionResource{Group: "cert-manager.io", Version: "v1", Resource: "certificates"}).Namespace(manifests.Namespace)
}
