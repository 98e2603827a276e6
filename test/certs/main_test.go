// Package certs_test proves the product's certificates on a real API server,
// with no more rights than the manifests give.
package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"github.com/gatepass/gatepass/certs"
	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/manifests"
)

const (
	webhookAccount = "gatepass-webhook"
	gatewayAccount = "gatepass-gateway"
	webhookSecret  = "gatepass-webhook-ca"
	gatewaySecret  = "gatepass-gateway-ca"
	gatewayBundle  = "gatepass-gateway-ca"
	configuration  = manifests.WebhookConfiguration
)

var shared *cluster.Cluster

func TestMain(m *testing.M) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // client-go's, of sources that lack rights on purpose
	os.Exit(cluster.Main(m, cluster.Options{}, &shared))
}

// install applies the manifests afresh: authorities and bundles are empty.
// Names in the manifests are fixed, so tests of this package don't run in
// parallel.
func install(t *testing.T) {
	t.Helper()
	rendered, err := manifests.Render(t.Context(), shared, manifests.SelfManaged)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := shared.KubectlInput(t.Context(), rendered, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	blank(t, webhookSecret)
	blank(t, gatewaySecret)
	patchConfigMap(t, `{"data":null}`)
	patchConfiguration(t, `[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":""}]`)
}

// blank empties an authority's Secret, which makes its owners replace it.
func blank(t *testing.T, secret string) {
	t.Helper()
	if _, err := shared.Client.CoreV1().Secrets(manifests.Namespace).Patch(t.Context(), secret, types.MergePatchType,
		[]byte(`{"data":null}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func patchConfigMap(t *testing.T, patch string) {
	t.Helper()
	if _, err := shared.Client.CoreV1().ConfigMaps(manifests.Namespace).Patch(t.Context(), gatewayBundle, types.MergePatchType,
		[]byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func patchConfiguration(t *testing.T, patch string) {
	t.Helper()
	if _, err := shared.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(t.Context(), configuration, types.JSONPatchType,
		[]byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// accountConfig reaches the API server with a ServiceAccount's token and so
// with its rights only.
func accountConfig(t *testing.T, account string) *rest.Config {
	t.Helper()
	token, err := shared.PodToken(t.Context(), cluster.TokenRequest{Namespace: manifests.Namespace, ServiceAccount: account})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(shared.Config)
	config.BearerToken = token
	return config
}

// accountKubeconfig is accountConfig as a file.
func accountKubeconfig(t *testing.T, account string) string {
	t.Helper()
	config := accountConfig(t, account)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"a": {Token: config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "a"}},
		CurrentContext: "c",
	}, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// source is a running SelfManaged and what it told.
type source struct {
	*certs.SelfManaged

	mu       sync.Mutex
	log      strings.Builder
	failures []error
}

func (s *source) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *source) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *source) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failures = append(s.failures, err)
	}
}

func webhookOptions(t *testing.T) certs.SelfManagedOptions {
	t.Helper()
	return certs.SelfManagedOptions{
		RESTConfig:           accountConfig(t, webhookAccount),
		Namespace:            manifests.Namespace,
		CASecret:             webhookSecret,
		Service:              "gatepass-webhook",
		WebhookConfiguration: configuration,
		PropagationDelay:     shortDelay,
	}
}

func gatewayOptions(t *testing.T) certs.SelfManagedOptions {
	t.Helper()
	return certs.SelfManagedOptions{
		RESTConfig:       accountConfig(t, gatewayAccount),
		Namespace:        manifests.Namespace,
		CASecret:         gatewaySecret,
		Service:          "gatepass-gateway",
		ConfigMap:        gatewayBundle,
		PropagationDelay: shortDelay,
	}
}

// shortDelay is long enough to be seen.
const shortDelay = 2 * time.Second

// start runs a source until the test ends, and wants it to end without error.
func start(t *testing.T, o certs.SelfManagedOptions) *source {
	t.Helper()
	s := &source{}
	o.Logger = slog.New(slog.NewTextHandler(s, nil))
	o.OnPublish = s.note
	var err error
	if s.SelfManaged, err = certs.NewSelfManaged(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Start: %v", err)
			}
		case <-time.After(await.Patience):
			t.Error("Start does not end")
		}
		if strings.Contains(s.text(), "PRIVATE KEY") {
			t.Error("the log holds a key")
		}
	})
	return s
}

func (s *source) waitReady(t *testing.T) {
	t.Helper()
	var err error
	await.Until(t, "the source is ready", func() bool { err = s.Ready(); return err == nil }, func() string {
		return fmt.Sprintf("%v\n%s", err, s.text())
	})
}

// serial identifies the certificate that a source serves.
func (s *source) serial(t *testing.T) string {
	t.Helper()
	cert, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.SerialNumber.String()
}

// authority is the certificate in an authority's Secret; nil if there is none.
func authority(t *testing.T, secret string) []byte {
	t.Helper()
	got, err := shared.Client.CoreV1().Secrets(manifests.Namespace).Get(t.Context(), secret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Data[corev1.TLSCertKey]
}

// webhookBundle is what the API server verifies the webhook with.
func webhookBundle(ctx context.Context) ([]byte, error) {
	got, err := shared.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, configuration, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return got.Webhooks[0].ClientConfig.CABundle, nil
}

func mustWebhookBundle(t *testing.T) []byte {
	t.Helper()
	bundle, err := webhookBundle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func configMapBundle(t *testing.T) string {
	t.Helper()
	got, err := shared.Client.CoreV1().ConfigMaps(manifests.Namespace).Get(t.Context(), gatewayBundle, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Data[certs.BundleKey]
}

// trusts says whether a client with this bundle accepts a certificate.
func trusts(bundle []byte, cert *x509.Certificate, name string) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return errors.New("the bundle is empty")
	}
	_, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: name})
	return err
}

// dial says whether a client with this bundle accepts a server.
func dial(ctx context.Context, address, name string, bundle []byte) error {
	_, err := served(ctx, address, name, bundle)
	return err
}

// served is the certificate that a server shows to a client with this bundle.
func served(ctx context.Context, address, name string, bundle []byte) (*x509.Certificate, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 5 * time.Second},
		Config:    &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12},
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	encrypted, ok := conn.(*tls.Conn)
	if !ok {
		return nil, fmt.Errorf("a TLS dialer made a %T", conn)
	}
	return encrypted.ConnectionState().PeerCertificates[0], nil
}
