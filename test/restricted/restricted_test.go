// Package restricted holds injected pods against the Pod Security Standards,
// with the same evaluator that kube-apiserver has.
package restricted

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
)

const fixtures = "../../injector/testdata"

// rootThroughout is the one pod beside which the agent is root, see
// docs/decisions/0003-users.md: every container of it is explicitly root, so
// that the standard refuses it without the agent too.
const rootThroughout = "an-application-that-is-root-throughout"

// pods are the injector's fixtures, before and after injection.
func pods(t *testing.T) map[string][2]*corev1.Pod {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fixtures, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := profile.Parse(data, profile.Options{ReadFile: os.ReadFile, Overridable: injector.Overridable()})
	if err != nil {
		t.Fatal(err)
	}
	i := injector.New(set)
	files, err := filepath.Glob(filepath.Join(fixtures, "pods", "*.yaml"))
	if err != nil || len(files) < 25 {
		t.Fatalf("want at least 25 fixture pods, have %d (%v)", len(files), err)
	}
	out := map[string][2]*corev1.Pod{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := yaml.YAMLToJSON(data)
		if err != nil {
			t.Fatal(err)
		}
		d := i.Decide(raw)
		patch, err := jsonpatch.DecodePatch(d.Patch)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		injected, err := patch.Apply(raw)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".yaml")] = [2]*corev1.Pod{decode(t, raw), decode(t, injected)}
	}
	return out
}

func decode(t *testing.T, raw []byte) *corev1.Pod {
	t.Helper()
	pod := new(corev1.Pod)
	if err := yaml.Unmarshal(raw, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// violations are what the restricted standard finds wrong, by check.
func violations(t *testing.T, pod *corev1.Pod) []string {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, r := range evaluator.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !r.Allowed {
			found = append(found, r.ForbiddenReason)
		}
	}
	return found
}

// The injected container and volumes alone satisfy the standard.
func TestWhatIsInjectedIsRestricted(t *testing.T) {
	for name, pair := range pods(t) {
		t.Run(name, func(t *testing.T) {
			pod := pair[1]
			agent := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == injector.AgentContainer })
			if agent < 0 {
				t.Fatal("the pod has no agent")
			}
			alone := &corev1.Pod{Spec: corev1.PodSpec{
				Containers: []corev1.Container{pod.Spec.InitContainers[agent]},
				Volumes: slices.DeleteFunc(slices.Clone(pod.Spec.Volumes), func(v corev1.Volume) bool {
					return v.Name != injector.SessionVolume && v.Name != injector.IdentityVolume
				}),
			}}
			if len(alone.Spec.Volumes) != 2 {
				t.Fatalf("want our two volumes, have %d", len(alone.Spec.Volumes))
			}
			found := violations(t, alone)
			if name == rootThroughout {
				if !slices.Equal(found, []string{"runAsNonRoot != true", "runAsUser=0"}) {
					t.Errorf("want the agent to be root and nothing else, got %q", found)
				}
				return
			}
			if len(found) > 0 {
				t.Errorf("the agent violates the restricted standard: %q", found)
			}
		})
	}
}

// A pod that satisfies the standard does so after injection, and one that does
// not gets no new violation.
func TestInjectionAddsNoViolation(t *testing.T) {
	clean := 0
	for name, pair := range pods(t) {
		before, after := violations(t, pair[0]), violations(t, pair[1])
		if len(before) == 0 {
			clean++
		}
		for _, v := range after {
			if !slices.Contains(before, v) {
				t.Errorf("%s: injection adds the violation %q", name, v)
			}
		}
	}
	if clean == 0 {
		t.Error("no fixture satisfies the standard before injection")
	}
}
