//go:build e2e

// Package certmanager_test runs the product with certificates of cert-manager's
// own controllers, all of it as pods.
package certmanager_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/manifests"
)

var shared *bed.Bed

func TestMain(m *testing.M) { os.Exit(bed.Main(m, bed.Options{CertManager: true}, &shared)) }

func TestAPodGetsASession(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	for _, mode := range []string{"init", "sidecar"} {
		pod := shared.Create(t, bed.Application(ns, "in-mode-"+mode, bed.Annotate("mode", mode)))
		shared.Running(t, ns, pod.Name)
		bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
	}
}

// The Secret's new content reaches the webhook's pods when the kubelet looks,
// and both old and new certificate serve meanwhile.
func TestAdmissionsGoOnWhileCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	load := startLoad(t, ns)
	for _, row := range []struct {
		name   string
		demand func(t *testing.T)
	}{
		{"by a renewal", renew},
		{"after the loss of the Secret", func(t *testing.T) {
			if err := shared.Client.CoreV1().Secrets(bed.System).Delete(t.Context(), "gatepass-webhook-tls", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		before := secretCertificate(t)
		row.demand(t)
		var after *x509.Certificate
		shared.Await(t, "a new certificate "+row.name, func(ctx context.Context) error {
			secret, err := shared.Client.CoreV1().Secrets(bed.System).Get(ctx, "gatepass-webhook-tls", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if after, err = parse(secret.Data[corev1.TLSCertKey]); err != nil {
				return err
			}
			if after.Equal(before) {
				return errors.New("the Secret has the old one")
			}
			return nil
		})
		shared.Await(t, "all replicas serve it", func(ctx context.Context) error { return served(ctx, after) })
	}
	load.stop(t)
	pod := shared.Create(t, bed.Application(ns, "afterwards"))
	shared.Running(t, ns, pod.Name)
	bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
}

// renew asks for a new certificate as `cmctl renew` does.
func renew(t *testing.T) {
	t.Helper()
	patch := fmt.Sprintf(`[{"op":"add","path":"/status/conditions/-","value":{"type":"Issuing","status":"True",`+
		`"reason":"ManuallyTriggered","message":"a test wants it","lastTransitionTime":%q}}]`, time.Now().UTC().Format(time.RFC3339))
	if _, _, err := shared.Kubectl(t.Context(), "patch", "certificate", "-n", bed.System, "gatepass-webhook",
		"--subresource=status", "--type=json", "-p", patch); err != nil {
		t.Fatal(err)
	}
}

func secretCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	secret, err := shared.Client.CoreV1().Secrets(bed.System).Get(t.Context(), "gatepass-webhook-tls", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parse(secret.Data[corev1.TLSCertKey])
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func parse(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// served says whether every replica of the webhook serves a certificate, and
// the API server's bundle verifies it.
func served(ctx context.Context, want *x509.Certificate) error {
	config, err := shared.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, manifests.WebhookConfiguration, metav1.GetOptions{})
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.Webhooks[0].ClientConfig.CABundle)
	pods, err := shared.Client.CoreV1().Pods(bed.System).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook"})
	if err != nil {
		return err
	}
	if len(pods.Items) != 2 {
		return fmt.Errorf("%d replicas", len(pods.Items))
	}
	for i := range pods.Items {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "gatepass-webhook.gatepass-system.svc", MinVersion: tls.VersionTLS12}}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(pods.Items[i].Status.PodIP, "9443"))
		if err != nil {
			return err
		}
		secure, ok := conn.(*tls.Conn)
		matches := ok && bytes.Equal(secure.ConnectionState().PeerCertificates[0].Raw, want.Raw)
		if err := conn.Close(); err != nil {
			return err
		}
		if !matches {
			return fmt.Errorf("%s serves another certificate", pods.Items[i].Name)
		}
	}
	return nil
}

// load admits annotated pods without a pause.
type load struct {
	cancel   context.CancelFunc
	done     sync.WaitGroup
	admitted atomic.Int64
	failures []error
}

func startLoad(t *testing.T, ns string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	l.done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			pod, err := shared.Client.CoreV1().Pods(ns).Create(ctx, bed.Application(ns, "load"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				l.failures = append(l.failures, err)
			case len(pod.Spec.InitContainers) == 0:
				l.failures = append(l.failures, errors.New("a pod without its agent"))
			default:
				l.admitted.Add(1)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return l
}

// enough is how many admissions a renewal is judged by.
const enough = 100

// stop fails the test if an admission did.
func (l *load) stop(t *testing.T) {
	t.Helper()
	shared.Await(t, "enough admissions to prove something", func(context.Context) error {
		if n := l.admitted.Load(); n < enough {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	l.cancel()
	l.done.Wait()
	t.Logf("%d admissions, %d failed", l.admitted.Load(), len(l.failures))
	for _, err := range l.failures {
		t.Error(err)
	}
}
