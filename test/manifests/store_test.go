package manifests_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gatepass/gatepass/test/manifests"
	"github.com/gatepass/gatepass/test/product"
	"github.com/gatepass/gatepass/test/repo"
)

func TestAManagedGatewayKeepsWhatMatters(t *testing.T) {
	for _, kustomization := range manifests.Managed() {
		t.Run(kustomization, func(t *testing.T) {
			_, objects := render(t, kustomization)
			deployment, err := manifests.Find[appsv1.Deployment](objects, "Deployment", product.Gateway)
			if err != nil {
				t.Fatal(err)
			}
			pod := deployment.Spec.Template.Spec
			secrets := map[string]bool{}
			claims := 0
			for _, volume := range pod.Volumes {
				switch {
				case volume.EmptyDir != nil && volume.Name != "tmp": // of backups on their way
					t.Errorf("the volume %s ends with its pod", volume.Name)
				case volume.PersistentVolumeClaim != nil:
					claims++
				case volume.Secret != nil:
					secrets[volume.Secret.SecretName] = true
					if volume.Secret.Optional != nil || *volume.Secret.DefaultMode != 0o440 {
						t.Errorf("the Secret %s is optional, or not for the gateway's group only", volume.Secret.SecretName)
					}
				}
			}
			args := pod.Containers[0].Args
			for _, want := range []string{"--seal-key-file=/etc/gatepass/seal/seal.key", "--admin-credentials-secret=gatepass-system/gatepass-gateway-administrator"} {
				if !slices.Contains(args, want) {
					t.Errorf("%s is missing in %v", want, args)
				}
			}
			if slices.Contains(args, "--bootstrap-admin=false") || !secrets["gatepass-gateway-seal-key"] {
				t.Errorf("nobody can manage it, or nothing is sealed: %v, %v", args, secrets)
			}
			if strings.HasSuffix(kustomization, "volume") {
				checkAlone(t, objects, deployment, claims)
			} else {
				checkShared(t, objects, deployment, claims)
			}
		})
	}
}

// objectList spares the tests the name of its elements' type.
type objectList = []*unstructured.Unstructured

// checkAlone: two gateways can't have one database open, not even for a moment.
func checkAlone(t *testing.T, objects objectList, deployment *appsv1.Deployment, claims int) {
	t.Helper()
	if *deployment.Spec.Replicas != 1 || deployment.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType || deployment.Spec.Strategy.RollingUpdate != nil {
		t.Errorf("%d replicas by %+v", *deployment.Spec.Replicas, deployment.Spec.Strategy)
	}
	if claims != 1 || deployment.Spec.Template.Spec.SecurityContext.FSGroup == nil {
		t.Errorf("%d volumes, of the group %v", claims, deployment.Spec.Template.Spec.SecurityContext.FSGroup)
	}
	if _, err := manifests.Find[corev1.PersistentVolumeClaim](objects, "PersistentVolumeClaim", "gatepass-gateway-data"); err != nil {
		t.Error(err)
	}
	if _, err := manifests.Find[policyv1.PodDisruptionBudget](objects, "PodDisruptionBudget", product.Gateway); err == nil {
		t.Error("there is a budget for one pod")
	}
}

func checkShared(t *testing.T, objects objectList, deployment *appsv1.Deployment, claims int) {
	t.Helper()
	if *deployment.Spec.Replicas < 2 || claims != 0 {
		t.Errorf("%d replicas, %d volumes", *deployment.Spec.Replicas, claims)
	}
	if _, err := manifests.Find[policyv1.PodDisruptionBudget](objects, "PodDisruptionBudget", product.Gateway); err != nil {
		t.Error(err)
	}
	policy, err := manifests.Find[networkingv1.NetworkPolicy](objects, "NetworkPolicy", "gatepass-gateway-etcd")
	if err != nil {
		t.Fatal(err)
	}
	if len(policy.Spec.Egress) != 1 || len(policy.Spec.Egress[0].Ports) != 1 || policy.Spec.Egress[0].Ports[0].Port.IntValue() != 2379 {
		t.Errorf("it may call %+v", policy.Spec.Egress)
	}
	i := slices.IndexFunc(deployment.Spec.Template.Spec.Containers[0].Env, func(v corev1.EnvVar) bool { return v.Name == "ETCD_ENDPOINTS" })
	if i < 0 {
		t.Fatal("the endpoints are missing")
	}
	from := deployment.Spec.Template.Spec.Containers[0].Env[i].ValueFrom.ConfigMapKeyRef
	endpoints, err := manifests.Find[corev1.ConfigMap](objects, "ConfigMap", from.Name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(endpoints.Data[from.Key], "https://etcd-0.") || from.Name == "gatepass-gateway-etcd" {
		t.Errorf("the endpoints are %q, in %s, which must have another name when they change", endpoints.Data[from.Key], from.Name)
	}
}

// TestDocumentedKustomizationsBuild builds what docs/operations.md has administrators
// write, from where it says that they write it.
func TestDocumentedKustomizationsBuild(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	var built []string
	for i, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(block, "kind: Kustomization\n") {
			continue
		}
		dir := t.TempDir()
		relative, err := filepath.Rel(dir, root)
		if err != nil {
			t.Fatal(err)
		}
		block = strings.ReplaceAll(block, "../gatepass/manifests/", relative+"/manifests/")
		if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _, err := shared.Kubectl(t.Context(), "kustomize", dir)
		if err != nil {
			t.Errorf("block %d: %v", i, err)
		}
		built = append(built, out)
	}
	etcd, _ := render(t, manifests.SelfManagedEtcd)
	volume, _ := render(t, manifests.SelfManagedVolume)
	if diff := cmp.Diff([]string{etcd, volume}, built); diff != "" {
		t.Errorf("they make something else than what is tested (-tested +documented):\n%s", diff)
	}
}
