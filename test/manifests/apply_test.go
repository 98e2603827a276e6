package manifests_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
	"github.com/gatepass/gatepass/test/manifests"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
)

// modes are the two ways in which people apply manifests.
var modes = map[string][]string{
	"client-side": {"--validate=strict", "--warnings-as-errors"},
	"server-side": {"--server-side", "--validate=strict", "--warnings-as-errors"},
}

func TestEveryObjectIsAcceptedWithoutWarning(t *testing.T) {
	if err := manifests.ApplyCRDs(t.Context(), shared); err != nil {
		t.Fatal(err)
	}
	for _, kustomization := range manifests.All() {
		rendered, objects := render(t, kustomization)
		for mode, flags := range modes {
			t.Run(kustomization+" "+mode, func(t *testing.T) {
				install(t, rendered, flags...)
				stdout, stderr := kubectl(t, rendered, append([]string{"apply", "-f", "-"}, flags...)...)
				if stderr != "" {
					t.Errorf("kubectl warns: %s", stderr)
				}
				if got := strings.Count(stdout, "\n"); got != len(objects) {
					t.Errorf("%d objects applied, the manifests hold %d", got, len(objects))
				}
			})
		}
	}
}

func TestAWarningWouldBeNoticed(t *testing.T) {
	// A pod that violates what the namespace only warns about.
	namespace, err := shared.CreateNamespace(t.Context(), "warns", map[string]string{"pod-security.kubernetes.io/warn": "restricted"})
	if err != nil {
		t.Fatal(err)
	}
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"a","image":"a"}]}}`
	for mode, flags := range modes {
		if _, _, err := shared.KubectlInput(t.Context(), pod, append([]string{"apply", "-n", namespace, "--dry-run=server", "-f", "-"}, flags...)...); err == nil {
			t.Errorf("%s: the warning is not an error", mode)
		}
	}
}

// fills are what the programs and cert-manager write into applied objects.
var fills = []struct{ resource, name, patch string }{
	{"secret", "gatepass-webhook-ca", `{"data":{"tls.crt":"YQ==","tls.key":"Yg==","ca.crt":"YQ=="}}`},
	{"secret", "gatepass-gateway-ca", `{"data":{"tls.crt":"YQ==","tls.key":"Yg==","ca.crt":"YQ=="}}`},
	{"secret", "gatepass-gateway-signing-keys", `{"data":{"session-keys.json":"YQ=="}}`},
	{"configmap", "gatepass-gateway-ca", `{"data":{"ca.crt":"a"}}`},
	{"secret", "gatepass-gateway-administrator", `{"data":{"access-id":"YQ==","access-key":"Yg=="}}`},
}

func TestApplyingAgainLosesNothing(t *testing.T) {
	// The one with everything that programs write into.
	rendered, objects := render(t, manifests.SelfManagedEtcd)
	for mode, flags := range modes {
		t.Run(mode, func(t *testing.T) {
			install(t, rendered, flags...)
			for _, fill := range fills {
				kubectl(t, "", "patch", "-n", manifests.Namespace, fill.resource, fill.name, "--type=merge", "-p", fill.patch)
			}
			setBundle(t, []byte("a"))
			before := state(t, rendered)
			if len(before) != len(objects) {
				t.Fatalf("%d objects, want %d", len(before), len(objects))
			}
			kubectl(t, rendered, append([]string{"apply", "-f", "-"}, flags...)...)
			after := state(t, rendered)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("applying again changed something (-before +after):\n%s", diff)
			}
			if !strings.Contains(after["MutatingWebhookConfiguration/"+manifests.WebhookConfiguration], `"caBundle":"YQ=="`) {
				t.Error("the bundle is not there")
			}
		})
	}
}

func setBundle(t *testing.T, bundle []byte) {
	t.Helper()
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(
		t.Context(), manifests.WebhookConfiguration, types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// state returns the objects as they are in the cluster, but for what applying
// notes about itself.
func state(t *testing.T, rendered string) map[string]string {
	t.Helper()
	stdout, _ := kubectl(t, rendered, "get", "-f", "-", "-o", "json")
	var list unstructured.UnstructuredList
	if err := list.UnmarshalJSON([]byte(stdout)); err != nil {
		t.Fatal(err)
	}
	objects := map[string]string{}
	for _, object := range list.Items {
		object.SetManagedFields(nil)
		object.SetResourceVersion("")
		text, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		objects[object.GetKind()+"/"+object.GetName()] = string(text)
	}
	return objects
}

func TestPodsOfTheDeploymentsAreRestricted(t *testing.T) {
	for _, kustomization := range manifests.All() {
		rendered, objects := render(t, kustomization)
		t.Run(kustomization, func(t *testing.T) {
			install(t, rendered)
			for _, name := range []string{"gatepass-webhook", "gatepass-gateway"} {
				deployment, err := manifests.Find[appsv1.Deployment](objects, "Deployment", name)
				if err != nil {
					t.Fatal(err)
				}
				template := deployment.Spec.Template
				pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
				pod.GenerateName = name + "-"
				created, err := shared.Client.CoreV1().Pods(manifests.Namespace).Create(t.Context(), pod, dryRun)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if created.Spec.Priority == nil || *created.Spec.Priority != 1000000000 {
					t.Errorf("%s: priority %v", name, created.Spec.Priority)
				}
				wantsToken := name == "gatepass-gateway" || manifests.HasOwnAuthorities(kustomization)
				if got := hasToken(created); got != wantsToken {
					t.Errorf("%s: has a token of the Kubernetes API: %t, want %t", name, got, wantsToken)
				}
				pod.Spec.Containers[0].SecurityContext.Capabilities = nil
				if _, err := shared.Client.CoreV1().Pods(manifests.Namespace).Create(t.Context(), pod, dryRun); err == nil {
					t.Errorf("%s: the namespace accepts a pod that keeps capabilities", name)
				}
			}
		})
	}
}

func hasToken(pod *corev1.Pod) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ServiceAccountToken != nil {
				return true
			}
		}
	}
	return false
}

func TestExampleConfigurationsAreValid(t *testing.T) {
	_, objects := render(t, manifests.Base)
	webhook, err := manifests.Find[corev1.ConfigMap](objects, "ConfigMap", "gatepass-webhook-config")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewCA("gateway")
	if err != nil {
		t.Fatal(err)
	}
	mounted := map[string][]byte{"/etc/gatepass/gateway-ca/ca.crt": ca.PEM()}
	if _, err := profile.Parse([]byte(webhook.Data["config.yaml"]), profile.Options{
		ReadFile:    func(name string) ([]byte, error) { return mounted[name], nil },
		Overridable: injector.Overridable(),
	}); err != nil {
		t.Error(err)
	}
	gateway, err := manifests.Find[corev1.ConfigMap](objects, "ConfigMap", "gatepass-gateway-config")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse([]byte(gateway.Data["config.yaml"])); err != nil {
		t.Error(err)
	}
}

// TestTheProgramsKnowTheirFlags also holds what a mount and a flag must agree
// on: a flag's path lies in a mounted volume.
func TestTheProgramsKnowTheirFlags(t *testing.T) {
	programs, err := product.New(t.Context(), product.Webhook, product.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := programs.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, kustomization := range manifests.All() {
		_, objects := render(t, kustomization)
		for _, name := range []string{product.Webhook, product.Gateway} {
			deployment, err := manifests.Find[appsv1.Deployment](objects, "Deployment", name)
			if err != nil {
				t.Fatal(err)
			}
			container := deployment.Spec.Template.Spec.Containers[0]
			if out, err := help(t.Context(), programs.Path(name), container.Args); err != nil {
				t.Errorf("%s: %s %v: %v\n%s", kustomization, name, container.Args, err, out)
			}
			if _, err := help(t.Context(), programs.Path(name), []string{"--no-such-flag"}); err == nil {
				t.Errorf("%s accepts any flag", name)
			}
			for _, arg := range container.Args {
				_, path, ok := strings.Cut(arg, "=/")
				if ok && !underMount("/"+path, container.VolumeMounts) {
					t.Errorf("%s: %s: nothing is mounted for %s", kustomization, name, arg)
				}
			}
		}
	}
}

// help makes a command parse its flags and do nothing else.
func help(ctx context.Context, path string, args []string) (string, error) {
	out, err := exec.CommandContext(ctx, path, append(args[:len(args):len(args)], "--help")...).CombinedOutput()
	return string(out), err
}

func underMount(path string, mounts []corev1.VolumeMount) bool {
	for _, mount := range mounts {
		if path == mount.MountPath || strings.HasPrefix(path, mount.MountPath+"/") {
			return true
		}
	}
	return false
}
