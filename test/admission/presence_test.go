package admission_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/neighbour"
)

const mirrorDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// A pod may carry an agent that nobody injected. It is as the API server makes
// it, with defaults, and changed in one field.
func TestAForgedAgentIsRefused(t *testing.T) {
	for _, row := range []struct {
		name, says string
		forge      func(agent, security object)
	}{
		{"another registry's image", "its image is evil.example.com/gatepass/agent:v0.1.0 and not ghcr.io/gatepass/agent:v0.1.0",
			func(agent, _ object) { agent["image"] = "evil.example.com/gatepass/agent:v0.1.0" }},
		{"root", "its securityContext.runAsUser is 0 and not 65532", func(_, security object) { security["runAsUser"] = 0 }},
		{"an added capability", "its securityContext.capabilities.add must not be set",
			func(_, security object) { at(security, "capabilities")["add"] = []any{"SYS_PTRACE"} }},
		{"another access id", `its GATEPASS_ACCESS_ID is "p-zzzzzzz1234km" and not "p-abcdefg1234km"`,
			func(agent, _ object) { named(agent["env"], "GATEPASS_ACCESS_ID")["value"] = "p-zzzzzzz1234km" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			pod := settle(t, accept(t, asking("mypod1")))
			agent := named(at(pod, "spec")["initContainers"], "gatepass-agent")
			row.forge(agent, at(agent, "securityContext"))
			_, _, err := dryRun(t, pod)
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), "if another webhook changed the agent") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Webhooks that come after ours change its container, and ours is asked again.
func TestWhatOtherWebhooksDoToTheAgent(t *testing.T) {
	agent := func(pod *corev1.Pod) *corev1.Container {
		for i := range pod.Spec.InitContainers {
			if c := &pod.Spec.InitContainers[i]; c.Name == "gatepass-agent" {
				return c
			}
		}
		return &corev1.Container{}
	}
	for _, row := range []struct {
		name   string
		change func(*corev1.Pod)
		says   string
	}{
		{"resources, a pull policy, variables and a digest pass", func(pod *corev1.Pod) {
			c := agent(pod)
			if len(c.EnvFrom) > 0 {
				return
			}
			c.Image += "@" + mirrorDigest
			c.ImagePullPolicy = corev1.PullAlways
			c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("48Mi")}
			c.Env = append(c.Env, corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://proxy.example.com:3128"})
			c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "proxies"}}}}
		}, ""},
		{"a mirror that is not listed is refused with both remedies", func(pod *corev1.Pod) {
			agent(pod).Image = "mirror.example.com/gatepass/agent:v0.1.0"
		}, "list the mirror under imageMirrors in Gatepass' configuration"},
		{"a privilege is refused with its field", func(pod *corev1.Pod) {
			if sc := agent(pod).SecurityContext; sc != nil {
				sc.ReadOnlyRootFilesystem = new(bool)
			}
		}, "its securityContext.readOnlyRootFilesystem is false and not true"},
	} {
		t.Run(row.name, func(t *testing.T) {
			namespace, err := shared.cluster.CreateNamespace(t.Context(), "changer", nil)
			if err != nil {
				t.Fatal(err)
			}
			neighbour.Start(t, shared.cluster.Client, neighbour.Options{
				Configuration: "zzz-changer", Namespace: namespace, Container: corev1.Container{Name: "changer"},
				Change: func(pod *corev1.Pod) {
					mark(pod)
					row.change(pod)
				},
			})
			var created object
			await.Until(t, "the API server to call the other webhook", func() bool {
				created, _, err = shared.create(t.Context(), namespace, asking("mypod1"), true)
				return err != nil || at(created, "metadata", "annotations")["neighbour"] != nil
			})
			if row.says == "" && (err != nil || !hasAgent(created)) {
				t.Errorf("the pod is not created: %v", err)
			}
			if row.says != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), row.says)) {
				t.Errorf("want %q, got %v", row.says, err)
			}
		})
	}
}

// mark shows that a webhook was called, and reports whether it was before.
func mark(pod *corev1.Pod) (before bool) {
	const key = "neighbour"
	_, before = pod.Annotations[key]
	pod.Annotations[key] = "called"
	return before
}

// The kubelets of two replicas learn of changed profiles at different times,
// and an API server's two questions about a pod may go to both.
func TestReplicasWithNeighbouringProfilesAnswerForOnePod(t *testing.T) {
	before, err := os.ReadFile(shared.options.Config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	write := func(version string) {
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(before), "agent:v0.1.0", "agent:"+version)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("v0.1.0")
	options := shared.options
	options.Config = file
	newer, err := shared.product.StartWebhook(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shared.forwarder.lead(0)
		shared.forwarder.lead(shared.webhook.Port)
		if err := newer.Stop(); err != nil {
			t.Error(err)
		}
	})
	lead := func(port int) {
		shared.forwarder.lead(0) // also ends the connections that are kept
		shared.forwarder.lead(port)
	}
	image := func(pod object) string {
		return fmt.Sprint(named(at(pod, "spec")["initContainers"], "gatepass-agent")["image"])
	}
	write("v0.2.0")
	lead(newer.Port)
	await.Until(t, "the replica to load the changed profiles", func() bool {
		return strings.HasSuffix(image(accept(t, asking("mypod1"))), ":v0.2.0")
	})

	namespace, err := shared.cluster.CreateNamespace(t.Context(), "replicas", nil)
	if err != nil {
		t.Fatal(err)
	}
	// second is where the API server's second question about a pod goes.
	var second atomic.Int64
	second.Store(int64(newer.Port))
	neighbour.Start(t, shared.cluster.Client, neighbour.Options{
		Configuration: "zzz-neighbour", Namespace: namespace, Container: corev1.Container{Name: "switcher"},
		Change: func(pod *corev1.Pod) {
			if !mark(pod) {
				lead(int(second.Load()))
			}
		},
	})
	var pod object
	var warnings []string
	await.Until(t, "the API server to call the other webhook", func() bool {
		lead(shared.webhook.Port)
		pod, warnings, err = shared.create(t.Context(), namespace, asking("mypod1"), true)
		return err != nil || at(pod, "metadata", "annotations")["neighbour"] != nil
	})
	if err != nil {
		t.Fatalf("an agent of the last revision: %v", err)
	}
	if !strings.HasSuffix(image(pod), ":v0.1.0") || !strings.Contains(strings.Join(warnings, ";"), "before a change in the last minutes") {
		t.Errorf("image %s, warnings %q", image(pod), warnings)
	}
	// The other way around the replica can't know the profiles.
	second.Store(int64(shared.webhook.Port))
	lead(newer.Port)
	if _, _, err = shared.create(t.Context(), namespace, asking("mypod1"), true); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "if a profile was changed just now, try again") {
		t.Errorf("an agent of the next revision: %v", err)
	}
}
