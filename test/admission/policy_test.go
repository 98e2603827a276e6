package admission_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/manifests"
	"github.com/gatepass/gatepass/test/neighbour"
	"github.com/gatepass/gatepass/test/repo"
)

// refusedBy reports whether a policy refused a request with this text.
func refusedBy(err error, policy, says string) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy+"'") && strings.Contains(err.Error(), says)
}

const asksPolicy = "gatepass-pods-that-ask"

// withoutAgent is what a webhook does that takes everything away that we added.
func withoutAgent(pod *corev1.Pod) {
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "gatepass-agent" })
	ours := func(name string) bool { return name == "gatepass-session" || name == "gatepass-identity" }
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return ours(v.Name) })
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return ours(m.Name) })
	}
}

// The API server never asks our webhook about a pod for the first time once a
// later one has been called. Ours sorts after those of the usual policy engines.
func TestAPodThatAnotherWebhookHasAskIsInjectedOrRefused(t *testing.T) {
	ask := func(pod *corev1.Pod) { metav1.SetMetaDataAnnotation(&pod.ObjectMeta, "gatepass.dev/inject", "true") }
	for _, row := range []struct {
		configuration string
		change        func(*corev1.Pod)
		says          string
	}{
		{"kyverno-resource-mutating-webhook-cfg", ask, ""},
		{"zzz-annotates", ask, "a webhook added the key after Gatepass"},
		{"zzz-strips", func(pod *corev1.Pod) { ask(pod); withoutAgent(pod) }, "a webhook removed the init container gatepass-agent"},
	} {
		t.Run(row.configuration, func(t *testing.T) {
			namespace, err := shared.cluster.CreateNamespace(t.Context(), "late", nil)
			if err != nil {
				t.Fatal(err)
			}
			neighbour.Start(t, shared.cluster.Client, neighbour.Options{Configuration: row.configuration, Namespace: namespace, Change: row.change})
			// What is asked for by the pod itself is what the last one strips.
			pod := annotated("mypod1", nil)
			if row.configuration == "zzz-strips" {
				pod = asking("mypod1")
			}
			await.Until(t, "the API server to call the other webhook", func() bool {
				created, _, err := shared.create(t.Context(), namespace, pod, true)
				if row.says == "" {
					return err == nil && hasAgent(created)
				}
				return refusedBy(err, asksPolicy, row.says)
			})
		})
	}
}

func TestAPodThatAsksWhereNothingIsInjectedIsRefused(t *testing.T) {
	for _, namespace := range []string{"kube-system", manifests.Namespace} {
		for name, pod := range map[string]object{"by annotation": asking("mypod1"), "by label": labelled("gatepass.dev/inject")} {
			_, _, err := shared.create(t.Context(), namespace, pod, true)
			if !refusedBy(err, asksPolicy, "Gatepass adds no agent in namespace "+namespace) {
				t.Errorf("%s in %s: %v", name, namespace, err)
			}
		}
	}
}

func labelled(key string) object {
	pod := annotated("mypod1", nil)
	at(pod, "metadata")["labels"] = object{key: "true"}
	return pod
}

func TestAKeyThatIsNearlyOursIsRefusedOrWarnedOf(t *testing.T) {
	for _, row := range []struct {
		pod            object
		refused, warns string
	}{
		{annotated("mypod1", map[string]string{"Gatepass.dev/inject": "true"}), "Gatepass.dev/inject is nearly gatepass.dev/inject", ""},
		{annotated("mypod1", map[string]string{"GATEPASS.DEV/INJECT": "True"}), "GATEPASS.DEV/INJECT is nearly", ""},
		{annotated("mypod1", map[string]string{"gatepass.dev.inject": "true"}), "gatepass.dev.inject is nearly", ""},
		{annotated("mypod1", map[string]string{"gatepassdev/inject": "true"}), "gatepassdev/inject is nearly", ""},
		{annotated("mypod1", map[string]string{"gatepass/inject": "true"}), "gatepass/inject is nearly", ""},
		{annotated("mypod1", map[string]string{"gatepas.dev/inject": "true"}), "gatepas.dev/inject is nearly", ""},
		{annotated("mypod1", map[string]string{"gatepass.dve/inject": "true"}), "gatepass.dve/inject is nearly", ""},
		{annotated("mypod1", map[string]string{"gattepass.dev/inject": "true"}), "gattepass.dev/inject is nearly", ""},
		{labelled("gatepass-dev/inject"), "gatepass-dev/inject is nearly", ""},
		{labelled("gatepass.dev.inject"), "gatepass.dev.inject is nearly", ""},
		{annotated("mypod1", map[string]string{"Gatepass.dev/inject": "false"}), "", "Gatepass.dev/inject nearly has the prefix gatepass.dev/"},
		{annotated("mypod1", map[string]string{"Gatepass.dev/mode": "sidecar"}), "", "Gatepass.dev/mode nearly has the prefix"},
		{annotated("mypod1", map[string]string{"gatepass.dev": "true"}), "", "gatepass.dev nearly has the prefix"},
		{annotated("mypod1", map[string]string{"gatepass.dev/status": "injected"}), "", "gatepass.dev/status is for people to read"},
		{annotated("mypod1", map[string]string{"gatepass.dev.example.com/inject": "true", "gatepass.io/inject": "true", "gloo.example.com/inject": "true"}), "", ""},
		{annotated("mypod1", map[string]string{"gatepass.dev/inject": "false"}), "", ""},
	} {
		t.Run(fmt.Sprint(at(row.pod, "metadata", "annotations"), at(row.pod, "metadata", "labels")), func(t *testing.T) {
			_, warned, err := shared.create(t.Context(), shared.namespace, row.pod, true)
			if row.refused == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else if !refusedBy(err, asksPolicy, row.refused) {
				t.Errorf("got %v", err)
			}
			policies := slices.DeleteFunc(warned, func(w string) bool { return !strings.Contains(w, "ValidatingAdmissionPolicy") })
			if row.refused == "" && (row.warns == "" && len(policies) > 0 || row.warns != "" && !strings.Contains(strings.Join(policies, "\n"), row.warns)) {
				t.Errorf("warned of %q", policies)
			}
		})
	}
}

// Keys that only our webhook knows are refused where it is not asked, too.
func TestOurKeysOfAPodThatDoesNotAskAreRefusedEverywhere(t *testing.T) {
	for key, value := range map[string]string{"gatepass.dev/injekt": "true", "gatepass.dev/Inject": "true", "gatepass.dev/mode": "sidecar"} {
		_, _, err := shared.create(t.Context(), "kube-system", annotated("mypod1", map[string]string{key: value}), true)
		if !refusedBy(err, asksPolicy, key+" is") {
			t.Errorf("%s: %v", key, err)
		}
	}
	_, _, err := shared.create(t.Context(), "kube-system", annotated("mypod1", map[string]string{"gatepass.dev/inject": "True"}), true)
	if !refusedBy(err, asksPolicy, "is neither true nor false") {
		t.Error(err)
	}
}

func TestPoliciesHoldWithoutTheWebhookConfiguration(t *testing.T) {
	unregister(t)
	await.Until(t, "a pod that asks to be refused by the policy", func() bool {
		_, _, err := dryRun(t, asking("mypod1"))
		return refusedBy(err, asksPolicy, "MutatingWebhookConfiguration zz-gatepass is missing")
	})
	accept(t, annotated("mypod1", nil))
	accept(t, annotated("mypod1", map[string]string{"gatepass.dev/inject": "false"}))
	accept(t, golden(t, "mode-sidecar"))
}

// unregister deletes the webhook configuration until the test ends.
func unregister(t *testing.T) {
	t.Helper()
	if _, _, err := shared.cluster.Kubectl(t.Context(), "delete", "mutatingwebhookconfiguration", manifests.WebhookConfiguration); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.register(context.WithoutCancel(t.Context()), manifests.WebhookConfiguration); err != nil {
			t.Error(err)
		}
	})
}

// What docs/operations.md tells administrators to delete, in its order.
func TestTheEmergencyExitLetsPodsStartWithoutASession(t *testing.T) {
	t.Cleanup(func() {
		if err := shared.installPolicies(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := shared.cluster.Kubectl(t.Context(), "delete", "validatingadmissionpolicybinding", asksPolicy); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the policy to be out of force", func() bool {
		_, _, err := shared.create(t.Context(), "kube-system", asking("mypod1"), true)
		return err == nil
	})
	if !hasAgent(accept(t, asking("mypod1"))) {
		t.Error("without the policy alone, the webhook does not inject")
	}
	unregister(t)
	await.Until(t, "a pod that asks to be created without an agent", func() bool {
		pod, _, err := dryRun(t, asking("mypod1"))
		return err == nil && !hasAgent(pod)
	})
}

// golden is one of the injector's pods as our webhook leaves it.
func golden(t testing.TB, name string) object {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, fixtures, "injected", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, document, found := strings.Cut(string(text), "\n---\n")
	if !found {
		t.Fatalf("%s has no pod", name)
	}
	raw, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	pod, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	delete(at(pod, "metadata"), "namespace")
	return pod
}

// No webhook is asked in kube-system, so that the policies alone decide.
func TestEveryInjectedPodPassesThePolicies(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, fixtures, "injected", "*.yaml"))
	if err != nil || len(files) < 25 {
		t.Fatalf("%d golden pods (%v)", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		pod := golden(t, name)
		if account, ok := at(pod, "spec")["serviceAccountName"].(string); ok {
			if err := shared.cluster.EnsureServiceAccount(t.Context(), "kube-system", account); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := shared.create(t.Context(), "kube-system", pod, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnAgentThatIsNotInItsShapeIsRefused(t *testing.T) {
	agent := func(pod object) object { return named(at(pod, "spec")["initContainers"], "gatepass-agent") }
	app := func(pod object) object { return objects(at(pod, "spec")["containers"])[0] }
	volume := func(pod object, name string) object { return named(at(pod, "spec")["volumes"], name) }
	mount := func(name string, readOnly bool) object {
		return object{"name": name, "mountPath": "/mnt", "readOnly": readOnly}
	}
	for _, row := range []struct {
		name   string
		change func(object)
		says   string
	}{
		{"no agent", func(pod object) { drop(at(pod, "spec"), "initContainers", "gatepass-agent") }, "adds no agent in namespace kube-system"},
		{"an agent among the containers", func(pod object) {
			drop(at(pod, "spec"), "initContainers", "gatepass-agent")
			app(pod)["name"] = "gatepass-agent"
		}, "adds no agent in namespace kube-system"},
		{"the session on disk", func(pod object) { volume(pod, "gatepass-session")["emptyDir"] = object{} }, "gatepass-session is missing or not in memory"},
		{"the session of the host", func(pod object) {
			v := volume(pod, "gatepass-session")
			delete(v, "emptyDir")
			v["hostPath"] = object{"path": "/tmp"}
		}, "gatepass-session is missing or not in memory"},
		{"a second source beside the token", func(pod object) {
			projected := at(volume(pod, "gatepass-identity"), "projected")
			projected["sources"] = appended(projected["sources"], object{"configMap": object{"name": "c"}})
		}, "gatepass-identity is not a projected service-account token"},
		{"a token for the API server", func(pod object) {
			delete(at(objects(at(volume(pod, "gatepass-identity"), "projected")["sources"])[0], "serviceAccountToken"), "audience")
		}, "gatepass-identity is not a projected service-account token"},
		{"an agent that does not mount its token", func(pod object) { drop(agent(pod), "volumeMounts", "gatepass-identity") }, "does not mount"},
		{"an agent that can't write", func(pod object) { named(agent(pod)["volumeMounts"], "gatepass-session")["readOnly"] = true }, "does not mount gatepass-session writable"},
		{"a command", func(pod object) { agent(pod)["command"] = []any{"/bin/true"} }, "has a command or args"},
		{"args", func(pod object) { agent(pod)["args"] = []any{"x"} }, "has a command or args"},
		{"no security context", func(pod object) { delete(agent(pod), "securityContext") }, "the securityContext of the container gatepass-agent"},
		{"privileged", func(pod object) {
			agent(pod)["securityContext"] = object{"privileged": true}
		}, "the securityContext of the container gatepass-agent"},
		{"privileges that may grow", func(pod object) { delete(at(agent(pod), "securityContext"), "allowPrivilegeEscalation") }, "the securityContext of the container gatepass-agent"},
		{"a capability", func(pod object) {
			at(agent(pod), "securityContext", "capabilities")["add"] = []any{"SYS_PTRACE"}
		}, "the securityContext of the container gatepass-agent"},
		{"no hook", func(pod object) { delete(agent(pod), "lifecycle") }, "without its postStart hook"},
		{"another container with the token", func(pod object) {
			app(pod)["volumeMounts"] = appended(app(pod)["volumeMounts"], mount("gatepass-identity", true))
		}, "the container app mounts gatepass-identity"},
		{"another container that writes the session", func(pod object) {
			named(app(pod)["volumeMounts"], "gatepass-session")["readOnly"] = false
		}, "the container app mounts gatepass-session writable"},
		{"no container with the session", func(pod object) { drop(app(pod), "volumeMounts", "gatepass-session") }, "no container mounts gatepass-session"},
	} {
		t.Run(row.name, func(t *testing.T) {
			pod := golden(t, "mode-sidecar")
			row.change(pod)
			if _, _, err := shared.create(t.Context(), "kube-system", pod, true); !refusedBy(err, asksPolicy, row.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// appended returns a list with one object more.
func appended(v any, o object) []any {
	list, _ := v.([]any)
	return append(list, o)
}

// Every user can write the annotation of mirror pods. A kubelet runs none of
// those, but shows its own static pods so.
func TestOnlyMirrorPodsOfNodesAreExempt(t *testing.T) {
	pod := newMirror()
	pods := shared.cluster.Client.CoreV1().Pods(shared.namespace)
	if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); !refusedBy(err, asksPolicy, "asks for a session") {
		t.Errorf("a user's: %v", err)
	}
	config := rest.CopyConfig(shared.cluster.Config)
	// The node authorizer is not what is tried here.
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:node:node-1", Groups: []string{"system:nodes", "system:masters"}}
	node, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.CoreV1().Pods(shared.namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Errorf("a node's: %v", err)
	}
}

func newMirror() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "static-node-1", Annotations: map[string]string{
			"gatepass.dev/inject": "true", corev1.MirrorPodAnnotationKey: "hash",
		}},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app", Image: "example.com/app:v1"}}},
	}
}

// Looking at keys has a bounded budget in the API server (1,000,000 for an
// expression, k8s.io/apiserver/pkg/apis/cel), and a pod may have many labels.
// The API server's own work on more of them takes longer than a request may.
func TestAPodWithVeryManyKeysOfOthersPasses(t *testing.T) {
	labels := object{}
	for n := range 5_000 {
		labels[fmt.Sprintf("l%d", n)] = ""
	}
	pod := annotated("mypod1", nil)
	at(pod, "metadata")["labels"] = labels
	accept(t, pod)
}

// Applying a newer version leaves the configuration of an older name behind.
func TestAnOldConfigurationBesideTheNewOneIsHarmless(t *testing.T) {
	once := settle(t, accept(t, asking("mypod1")))
	const older = "gatepass"
	if err := shared.register(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	configurations := shared.cluster.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	t.Cleanup(func() {
		if err := configurations.Delete(context.WithoutCancel(t.Context()), older, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	await.Until(t, "both to be called", func() bool {
		before := admissions(t, "already-injected")
		twice := settle(t, accept(t, asking("mypod1")))
		if fmt.Sprint(once) != fmt.Sprint(twice) {
			t.Fatalf("called twice, the webhook makes\n%v\nand once\n%v", twice, once)
		}
		return admissions(t, "already-injected") > before
	})
}
