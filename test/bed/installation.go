package bed

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/servers"
)

const (
	installTimeout = 4 * time.Minute
	poll           = 100 * time.Millisecond
)

// install brings up cluster DNS and Gatepass, and waits until both serve.
func (b *Bed) install(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	began := time.Now()
	dir := filepath.Join(b.root, "test", "bed")
	if _, _, err := b.Kubectl(ctx, "apply", "-f", filepath.Join(dir, "dns")); err != nil {
		return err
	}
	if o.Bare {
		return b.RolledOut(ctx, "kube-system", "coredns")
	}
	overlay := filepath.Join(dir, "install")
	if o.CertManager {
		overlay = filepath.Join(dir, "install-cert-manager")
		if err := b.runCertManager(ctx, dir); err != nil {
			return err
		}
	}
	if o.Kustomization != "" {
		overlay = filepath.Join(b.root, "test", o.Kustomization)
	}
	if o.Prepare != nil {
		if err := o.Prepare(ctx, b); err != nil {
			return err
		}
	}
	if err := b.Apply(ctx, overlay); err != nil {
		return err
	}
	if err := b.RolledOut(ctx, "kube-system", "coredns"); err != nil {
		return err
	}
	if err := b.Eventually(ctx, "the webhook injects", b.Injects); err != nil {
		return err
	}
	b.say("Gatepass runs in the cluster, %s after the node.", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// Apply installs a kustomization of Gatepass, and waits until that serves.
func (b *Bed) Apply(ctx context.Context, kustomization string) error {
	// They share files that patch them with the same configuration.
	rendered, _, err := b.Kubectl(ctx, "kustomize", "--load-restrictor=LoadRestrictionsNone", kustomization)
	if err != nil {
		return err
	}
	_, warnings, err := b.KubectlInput(ctx, rendered, "apply", "-f", "-")
	if err != nil {
		return err
	}
	if strings.TrimSpace(warnings) != "" {
		return fmt.Errorf("the API server warned about our manifests: %s", warnings)
	}
	return b.RolledOut(ctx, System, Gateway.Deployment(), Webhook.Deployment())
}

// runCertManager installs cert-manager's definitions and runs its controllers.
func (b *Bed) runCertManager(ctx context.Context, dir string) error {
	crds, err := servers.CRDs(ctx)
	if err != nil {
		return err
	}
	// Some are too large for the annotation of a client-side apply.
	if _, _, err := b.Kubectl(ctx, "apply", "--server-side", "-f", crds); err != nil {
		return err
	}
	if _, _, err := b.Kubectl(ctx, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"); err != nil {
		return err
	}
	if _, _, err := b.Kubectl(ctx, "apply", "-f", filepath.Join(dir, "certmanager")); err != nil {
		return err
	}
	return b.RolledOut(ctx, "cert-manager", "cert-manager")
}

// RolledOut waits until Deployments are as their specification says.
func (b *Bed) RolledOut(ctx context.Context, namespace string, deployments ...string) error {
	for _, d := range deployments {
		if _, _, err := b.Kubectl(ctx, "rollout", "status", "-n", namespace, "deployment/"+d, "--timeout=180s"); err != nil {
			return err
		}
	}
	return nil
}

// Injects asks the API server what it would make of an annotated pod. That its
// webhook's pods are ready does not say that: the API server learns of them
// from EndpointSlices, which follow the pods, and it follows those.
func (b *Bed) Injects(ctx context.Context) error {
	pod, err := b.Client.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "probe", Annotations: map[string]string{"gatepass.dev/inject": "true"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: AppImage}}},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return err
	}
	if len(pod.Spec.InitContainers) == 0 {
		return errors.New("the API server does not call the webhook")
	}
	return nil
}

// Eventually repeats a check until it succeeds or ctx ends.
func (b *Bed) Eventually(ctx context.Context, what string, check func(context.Context) error) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // a check that was cut off tells nothing
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not so in time: %s: %w", what, last)
		}
	}
}
