package manifests_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gatepass/gatepass/test/manifests"
	"github.com/gatepass/gatepass/test/product"
)

// TestTheCollectorKnowsTheMemoryLimit holds two numbers together that stand in
// different places.
func TestTheCollectorKnowsTheMemoryLimit(t *testing.T) {
	for _, kustomization := range manifests.All() {
		_, objects := render(t, kustomization)
		for _, name := range []string{product.Webhook, product.Gateway} {
			deployment, err := manifests.Find[appsv1.Deployment](objects, "Deployment", name)
			if err != nil {
				t.Fatal(err)
			}
			container := deployment.Spec.Template.Spec.Containers[0]
			var soft int64
			i := slices.IndexFunc(container.Env, func(v corev1.EnvVar) bool { return v.Name == "GOMEMLIMIT" })
			if i < 0 {
				t.Errorf("%s: %s has no GOMEMLIMIT", kustomization, name)
				continue
			}
			if _, err := fmt.Sscanf(container.Env[i].Value, "%dMiB", &soft); err != nil {
				t.Errorf("%s: %s: GOMEMLIMIT %q: %v", kustomization, name, container.Env[i].Value, err)
			}
			hard := container.Resources.Limits.Memory().Value() >> 20
			if soft*100 < hard*75 || soft*100 > hard*85 {
				t.Errorf("%s: %s: GOMEMLIMIT is %d MiB of %d MiB, want 75%% to 85%%", kustomization, name, soft, hard)
			}
			if container.Resources.Limits.Memory().Cmp(resource.MustParse("256Mi")) < 0 {
				t.Errorf("%s: %s: the memory limit is too small for the requests that may be under way", kustomization, name)
			}
		}
	}
}

// TestPodsHaveTheTimeThatTheirEndTakes counts the shutdown delay and what a
// request under way may take after it.
func TestPodsHaveTheTimeThatTheirEndTakes(t *testing.T) {
	const delay, reading, writing = 5 * time.Second, 10 * time.Second, 10 * time.Second
	for _, kustomization := range manifests.All() {
		_, objects := render(t, kustomization)
		deployment, err := manifests.Find[appsv1.Deployment](objects, "Deployment", product.Webhook)
		if err != nil {
			t.Fatal(err)
		}
		pod := deployment.Spec.Template.Spec
		if !slices.Contains(pod.Containers[0].Args, "--shutdown-delay="+delay.String()) {
			t.Errorf("%s: the shutdown delay is not %s: %v", kustomization, delay, pod.Containers[0].Args)
		}
		if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= delay+reading+writing {
			t.Errorf("%s: the pod is killed after %s", kustomization, grace)
		}
	}
}

func TestPoliciesLetTheProgramsReachAPIServersAndDNS(t *testing.T) {
	wanted := []string{"TCP/443", "TCP/6443", "TCP/8443", "TCP/16443", "UDP/53", "TCP/53"}
	for _, kustomization := range manifests.All() {
		_, objects := render(t, kustomization)
		for _, name := range []string{product.Webhook, product.Gateway} {
			policy, err := manifests.Find[networkingv1.NetworkPolicy](objects, "NetworkPolicy", name)
			if err != nil {
				t.Fatal(err)
			}
			open := map[string]bool{}
			for _, rule := range policy.Spec.Egress {
				if len(rule.Ports) == 0 {
					t.Errorf("%s: %s may call any port", kustomization, name)
				}
				for _, port := range rule.Ports {
					protocol := corev1.ProtocolTCP
					if port.Protocol != nil {
						protocol = *port.Protocol
					}
					open[string(protocol)+"/"+port.Port.String()] = true
				}
			}
			callsNobody := name == product.Webhook && !manifests.HasOwnAuthorities(kustomization)
			if callsNobody {
				if len(open) != 0 {
					t.Errorf("%s: %s may call %v", kustomization, name, open)
				}
				continue
			}
			for _, port := range wanted {
				if !open[port] {
					t.Errorf("%s: %s can't call %s", kustomization, name, port)
				}
			}
		}
	}
}
