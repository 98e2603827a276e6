// Package admission_test holds gatepass-webhook, as a process and registered
// as in manifests/, against a real API server.
package admission_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/manifests"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
	"github.com/gatepass/gatepass/test/repo"
)

// fixtures is where the injector keeps its pods, and the profiles for them.
const fixtures = "injector/testdata"

// bed is what all tests of this package share: one API server, and one webhook
// behind a forwarder, registered as the manifests say but for the address.
type bed struct {
	cluster   *cluster.Cluster
	product   *product.Product
	options   product.WebhookOptions
	webhook   *product.Server
	forwarder *forwarder
	namespace string
	audit     string
	// plain is what the API server makes of each pod without the webhook.
	plain map[string]map[string]any
}

var shared = &bed{}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	// Longer than any test's timeout would be a hang that go test ends.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	err := shared.start(ctx)
	if err == nil {
		code = m.Run()
	}
	if err := errors.Join(err, shared.stop()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		code = max(code, 1)
	}
	return code
}

func (b *bed) start(ctx context.Context) (err error) {
	if b.product, err = product.New(ctx, product.Webhook); err != nil {
		return err
	}
	dir := b.product.Dir()
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	b.audit = filepath.Join(dir, "audit.log")
	b.cluster, err = cluster.Start(ctx, cluster.Options{APIServerArgs: map[string][]string{
		"audit-policy-file": {policy}, "audit-log-path": {b.audit},
	}})
	if err != nil {
		return err
	}
	if b.namespace, err = b.cluster.CreateNamespace(ctx, "admission", nil); err != nil {
		return err
	}
	if err := b.capture(ctx); err != nil {
		return err
	}
	if err := b.startWebhook(ctx); err != nil {
		return err
	}
	if err := b.register(ctx, manifests.WebhookConfiguration); err != nil {
		return err
	}
	return b.installPolicies(ctx)
}

func (b *bed) startWebhook(ctx context.Context) error {
	root, err := repo.Root()
	if err != nil {
		return err
	}
	ca, err := pki.NewCA("gatepass test")
	if err != nil {
		return err
	}
	pair, err := ca.Server("127.0.0.1")
	if err != nil {
		return err
	}
	certs := filepath.Join(b.product.Dir(), "tls")
	for name, content := range map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": ca.PEM()} {
		if err := errors.Join(os.MkdirAll(certs, 0o700), os.WriteFile(filepath.Join(certs, name), content, 0o600)); err != nil {
			return err
		}
	}
	b.options = product.WebhookOptions{Config: filepath.Join(root, fixtures, "config.yaml"), CertDir: certs}
	if b.webhook, err = b.product.StartWebhook(ctx, b.options); err != nil {
		return err
	}
	b.forwarder, err = newForwarder(ctx)
	if err != nil {
		return err
	}
	b.forwarder.lead(b.webhook.Port)
	return nil
}

// register applies our MutatingWebhookConfiguration under a name, with the
// forwarder's address, and waits until the API server calls it.
func (b *bed) register(ctx context.Context, name string) error {
	rendered, err := manifests.Render(ctx, b.cluster, manifests.Base)
	if err != nil {
		return err
	}
	objects, err := manifests.Objects(rendered)
	if err != nil {
		return err
	}
	hook, err := manifests.Find[registrationv1.MutatingWebhookConfiguration](objects, "MutatingWebhookConfiguration", manifests.WebhookConfiguration)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(b.options.CertDir, "ca.crt"))
	if err != nil {
		return err
	}
	address := "https://" + b.forwarder.address() + "/mutate"
	hook.Webhooks[0].ClientConfig = registrationv1.WebhookClientConfig{URL: &address, CABundle: ca}
	hook.Name = name
	if _, err := b.cluster.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, hook, metav1.CreateOptions{}); err != nil {
		return err
	}
	return b.await(ctx, "the API server calls the webhook", func() (bool, error) {
		_, _, err := b.create(ctx, b.namespace, annotated("until-registered", map[string]string{"gatepass.dev/injekt": "true"}), true)
		switch {
		case err == nil:
			return false, nil
		case apierrors.IsForbidden(err): // by the webhook, or by a policy until that is called
			return strings.Contains(err.Error(), `admission webhook "inject.gatepass.dev"`), nil
		}
		return false, fmt.Errorf("the webhook fails: %w\n%s", err, b.webhook.Logs())
	})
}

// installPolicies applies the manifests' policies, and waits until they are in
// force, which docs/policies.md tells people to see in the same way.
func (b *bed) installPolicies(ctx context.Context) error {
	rendered, err := manifests.Render(ctx, b.cluster, manifests.Policies)
	if err != nil {
		return err
	}
	if _, _, err := b.cluster.KubectlInput(ctx, rendered, "apply", "-f", "-"); err != nil {
		return err
	}
	for _, namespace := range []string{"kube-system", manifests.Namespace} {
		if _, _, err := b.cluster.Kubectl(ctx, "create", "namespace", namespace); err != nil && !strings.Contains(err.Error(), "AlreadyExists") {
			return err
		}
		if err := b.cluster.EnsureServiceAccount(ctx, namespace, "default"); err != nil {
			return err
		}
	}
	return b.await(ctx, "the policies are in force", func() (bool, error) {
		_, _, err := b.create(ctx, "kube-system", asking("until-in-force"), true)
		if err != nil && !apierrors.IsForbidden(err) {
			return false, err
		}
		return err != nil, nil
	})
}

// await looks again and again until ok returns true.
func (b *bed) await(ctx context.Context, what string, ok func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not so in time: %s", what)
		}
	}
}

func (b *bed) stop() error {
	var errs []error
	if b.forwarder != nil {
		errs = append(errs, b.forwarder.close())
	}
	if b.webhook != nil {
		errs = append(errs, b.webhook.Stop())
	}
	if b.cluster != nil {
		errs = append(errs, b.cluster.Stop())
	}
	if b.product != nil {
		errs = append(errs, b.product.Close())
	}
	return errors.Join(errs...)
}
