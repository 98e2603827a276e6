package manifests_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/gatepass/gatepass/test/manifests"
)

const restorePod = "gatepass-gateway-restore"

// What the pods that restore a backup reach, by kustomization.
var restores = map[string]struct {
	like    string // the installation whose store it fills
	volumes []string
	ports   []int32
}{
	"operations/restore-volume":               {manifests.SelfManagedVolume, []string{"data"}, nil},
	"../test/e2e/store/testdata/restore-etcd": {manifests.SelfManagedEtcd, []string{"etcd", "tmp"}, []int32{2379, 53, 53, 5353, 5353}},
}

func TestARestoreReachesTheStoreAndNothingElse(t *testing.T) {
	for kustomization, want := range restores {
		t.Run(kustomization, func(t *testing.T) {
			rendered, objects := render(t, kustomization)
			kubectl(t, namespaceOf(t), "apply", "-f", "-")
			if err := shared.EnsureServiceAccount(t.Context(), manifests.Namespace, "default"); err != nil {
				t.Fatal(err)
			}
			if _, stderr := kubectl(t, rendered, "apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-"); stderr != "" {
				t.Errorf("kubectl warns: %s", stderr)
			}
			pod, err := manifests.Find[corev1.Pod](objects, "Pod", restorePod)
			if err != nil {
				t.Fatal(err)
			}
			_, installed := render(t, want.like)
			gateway, err := manifests.Find[appsv1.Deployment](installed, "Deployment", "gatepass-gateway")
			if err != nil {
				t.Fatal(err)
			}
			own, served := &pod.Spec.Containers[0], &gateway.Spec.Template.Spec.Containers[0]
			if own.Image != served.Image {
				t.Errorf("the image is %s, the gateway's %s", own.Image, served.Image)
			}
			if diff := cmp.Diff(gateway.Spec.Template.Spec.SecurityContext.FSGroup, pod.Spec.SecurityContext.FSGroup); diff != "" {
				t.Errorf("its files would not be the gateway's (-gateway +restore):\n%s", diff)
			}
			// The flags that say where the store is are the gateway's.
			for _, arg := range own.Args[3:] {
				if !slices.Contains(served.Args, arg) {
					t.Errorf("the flag %s is not one of the gateway's: %q", arg, served.Args)
				}
			}
			var volumes []string
			for _, v := range pod.Spec.Volumes {
				volumes = append(volumes, v.Name)
			}
			if diff := cmp.Diff(want.volumes, volumes); diff != "" {
				t.Errorf("volumes (-want +got):\n%s", diff)
			}
			if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
				t.Error("it has a token for the API server")
			}
			if pod.Labels["app.kubernetes.io/component"] == gateway.Spec.Selector.MatchLabels["app.kubernetes.io/component"] {
				t.Error("the gateway's Service sends requests to it")
			}
			checkPolicy(t, rendered, want.ports)
		})
	}
}

// namespaceOf is the installation's namespace alone.
func namespaceOf(t *testing.T) string {
	t.Helper()
	rendered, _ := render(t, manifests.Base)
	for _, object := range strings.Split(rendered, "\n---\n") {
		if strings.Contains(object, "kind: Namespace\n") {
			return object
		}
	}
	t.Fatal("there is no namespace")
	return ""
}

func checkPolicy(t *testing.T, rendered string, ports []int32) {
	t.Helper()
	objects, err := manifests.Objects(rendered)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := manifests.Find[networkingv1.NetworkPolicy](objects, "NetworkPolicy", restorePod)
	if err != nil {
		t.Fatal(err)
	}
	var got []int32
	for _, rule := range policy.Spec.Egress {
		for _, port := range rule.Ports {
			got = append(got, port.Port.IntVal)
		}
	}
	if diff := cmp.Diff(ports, got); diff != "" || len(policy.Spec.Ingress) > 0 || len(policy.Spec.PolicyTypes) != 2 {
		t.Errorf("the policy has %d ways in, types %v, ways out (-want +got):\n%s", len(policy.Spec.Ingress), policy.Spec.PolicyTypes, diff)
	}
}
