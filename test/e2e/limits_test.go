//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
)

// amounts reads "cpu=10m memory=16Mi".
func amounts(text string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for _, part := range strings.Fields(text) {
		name, quantity, _ := strings.Cut(part, "=")
		list[corev1.ResourceName(name)] = resource.MustParse(quantity)
	}
	return list
}

// resources are what the application requests, and is limited to.
func resources(requests, limits string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: amounts(requests), Limits: amounts(limits)}
	}
}

// together are several changes in one.
func together(changes ...func(*corev1.Pod)) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		for _, change := range changes {
			change(pod)
		}
	}
}

// The agent of the test bed's profile requests 10m of CPU and 16Mi of memory, and
// is limited to 32Mi of memory, unless something else is said here.
func TestNamespacesWithALimitRange(t *testing.T) {
	t.Parallel()
	unchanged := func(*corev1.Pod) {}
	for _, row := range []struct {
		name   string
		limit  corev1.LimitRangeItem
		change func(*corev1.Pod)
		// refusal is what the API server says; empty if it takes the pod.
		refusal string
		// agent is what the agent gets.
		agent string
		// tight is whether that is little enough to see whether it suffices.
		tight bool
	}{
		{"defaults fill what the agent leaves open", corev1.LimitRangeItem{Default: amounts("cpu=500m memory=64Mi"), DefaultRequest: amounts("cpu=20m memory=24Mi")},
			unchanged, "", "requests cpu=10m memory=16Mi, limits cpu=500m memory=32Mi", false},
		{"defaults that make pods Guaranteed keep them so", corev1.LimitRangeItem{Default: amounts("cpu=50m memory=64Mi")},
			unchanged, "", "requests cpu=100m memory=32Mi, limits cpu=100m memory=32Mi", true},
		{"a minimum and a maximum around the agent", corev1.LimitRangeItem{Min: amounts("cpu=5m memory=8Mi"), Max: amounts("cpu=1 memory=1Gi"),
			Default: amounts("cpu=500m memory=64Mi"), DefaultRequest: amounts("cpu=20m memory=24Mi")}, unchanged, "", "requests cpu=10m memory=16Mi, limits cpu=500m memory=32Mi", false},
		{"a minimum that the agent is below", corev1.LimitRangeItem{Min: amounts("memory=64Mi")}, resources("memory=64Mi", "memory=64Mi"),
			"minimum memory usage per Container is 64Mi, but request is 16Mi", "", false},
		{"the same, and the pod's annotations give the agent more", corev1.LimitRangeItem{Min: amounts("memory=64Mi")},
			together(resources("memory=64Mi", "memory=64Mi"), bed.Annotate("agent-requests-memory", "64Mi"), bed.Annotate("agent-limits-memory", "64Mi")),
			"", "requests cpu=10m memory=64Mi, limits memory=64Mi", false},
		{"a maximum that the agent is above", corev1.LimitRangeItem{Max: amounts("memory=24Mi")}, unchanged,
			"maximum memory usage per Container is 24Mi, but limit is 32Mi", "", false},
		{"the same, and the pod's annotations give the agent less", corev1.LimitRangeItem{Max: amounts("memory=24Mi")}, bed.Annotate("agent-limits-memory", "24Mi"),
			"", "requests cpu=10m memory=16Mi, limits memory=24Mi", true},
		{"a ratio that the agent exceeds", corev1.LimitRangeItem{MaxLimitRequestRatio: amounts("memory=1")}, resources("memory=64Mi", "memory=64Mi"),
			"memory max limit to request ratio per Container is 1, but provided ratio is 2.000000", "", false},
		{"the same, and the pod's annotations even it out", corev1.LimitRangeItem{MaxLimitRequestRatio: amounts("memory=1")},
			together(resources("memory=64Mi", "memory=64Mi"), bed.Annotate("agent-requests-memory", "32Mi")), "", "requests cpu=10m memory=32Mi, limits memory=32Mi", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ns := shared.Namespace(t, nil)
			row.limit.Type = corev1.LimitTypeContainer
			if _, err := shared.Client.CoreV1().LimitRanges(ns).Create(t.Context(), &corev1.LimitRange{
				ObjectMeta: metav1.ObjectMeta{Name: "limits"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{row.limit}},
			}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			// The annotations of the agent are for annotated pods only.
			plain := dryRun(t, bed.Application(ns, "plain", row.change, func(pod *corev1.Pod) { pod.Annotations = nil }))
			for _, mode := range modes() {
				pod := bed.Application(ns, "app-"+mode, row.change, bed.Annotate("mode", mode))
				if row.refusal != "" {
					checkRefused(t, pod, row.refusal)
					continue
				}
				pod = dryRun(t, pod)
				if got := agentResources(pod); got != row.agent {
					t.Errorf("mode %s: the agent has %s, want %s", mode, got, row.agent)
				}
				if diff := cmp.Diff(plain.Spec.Containers[0].Resources, pod.Spec.Containers[0].Resources); diff != "" {
					t.Errorf("mode %s: the application's resources (-plain +annotated):\n%s", mode, diff)
				}
				if got, want := pod.Status.QOSClass, plain.Status.QOSClass; want == corev1.PodQOSGuaranteed && got != want {
					t.Errorf("mode %s: the pod is %s, without Gatepass %s", mode, got, want)
				}
				if row.tight {
					pod = shared.Create(t, bed.Application(ns, pod.Name, row.change, bed.Annotate("mode", mode)))
					bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
				}
			}
		})
	}
}

func checkRefused(t *testing.T, pod *corev1.Pod, want string) {
	t.Helper()
	_, err := shared.Client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("pod %s: %v, want a refusal with %q", pod.Name, err, want)
	}
}

// agentResources writes what the agent requests and is limited to.
func agentResources(pod *corev1.Pod) string {
	text := &strings.Builder{}
	write := func(what string, list corev1.ResourceList) {
		text.WriteString(what)
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if q, ok := list[name]; ok {
				fmt.Fprintf(text, " %s=%s", name, q.String())
			}
		}
	}
	r := pod.Spec.InitContainers[0].Resources
	write("requests", r.Requests)
	write(", limits", r.Limits)
	return text.String()
}

func TestNamespacesWithAResourceQuota(t *testing.T) {
	t.Parallel()
	const all = "requests.cpu=1 requests.memory=1Gi limits.cpu=1 limits.memory=1Gi"
	app := resources("cpu=20m memory=24Mi", "cpu=100m memory=64Mi")
	for _, row := range []struct {
		name, hard string
		change     func(*corev1.Pod)
		// Of each mode, what the API server says, or else what of the quota is
		// used.
		refusals, used [2]string
	}{
		{"every container must have limits, and the agent has none of CPU", all, app,
			[2]string{"must specify limits.cpu for: gatepass-agent", "must specify limits.cpu for: gatepass-agent"}, [2]string{}},
		{"the same, and the pod's annotation gives the agent one", all, together(app, bed.Annotate("agent-limits-cpu", "50m")), [2]string{}, [2]string{
			"limits.cpu=100m limits.memory=64Mi requests.cpu=20m requests.memory=24Mi",
			"limits.cpu=150m limits.memory=96Mi requests.cpu=30m requests.memory=40Mi",
		}},
		{"there is room for the application alone", "requests.cpu=25m", app,
			[2]string{"", "exceeded quota: quota, requested: requests.cpu=30m, used: requests.cpu=0, limited: requests.cpu=25m"},
			[2]string{"requests.cpu=20m", ""}},
		{"a number of pods", "pods=1", app, [2]string{}, [2]string{"pods=1", "pods=1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for i, mode := range modes() {
				t.Run("mode "+mode, func(t *testing.T) {
					ns := shared.Namespace(t, nil)
					limitTo(t, ns, row.hard)
					pod := bed.Application(ns, "app", row.change, bed.Annotate("mode", mode))
					if row.refusals[i] != "" {
						checkRefused(t, pod, row.refusals[i])
						return
					}
					pod = shared.Create(t, pod)
					if got := usedOf(t, ns); got != row.used[i] {
						t.Errorf("%s of the quota is used, want %s", got, row.used[i])
					}
					bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
				})
			}
		})
	}
}

func TestAQuotaThatIsUsedUpIsSaidSo(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	limitTo(t, ns, "pods=1")
	shared.Create(t, bed.Application(ns, "first"))
	checkRefused(t, bed.Application(ns, "second"), "exceeded quota: quota, requested: pods=1, used: pods=1, limited: pods=1")
}

// Who has a Deployment sees the refusal of its pods at the ReplicaSet.
func TestARefusalByAQuotaIsAnEventOfTheReplicaSet(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	limitTo(t, ns, "limits.cpu=1")
	made := template(bed.Sidecar)
	made.Spec.Containers[0].Resources.Limits = amounts("cpu=100m")
	apply(t, ns, &appsv1.Deployment{TypeMeta: kind("apps/v1", "Deployment"), ObjectMeta: metav1.ObjectMeta{Name: "it"},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: made.Labels}, Template: made}})
	shared.Await(t, "kubectl describe replicaset tells", func(ctx context.Context) error {
		shown, _, err := shared.Kubectl(ctx, "describe", "replicaset", "-n", ns)
		if err == nil && !strings.Contains(shown, "must specify limits.cpu for: gatepass-agent") {
			err = errors.New("it says\n" + shown)
		}
		return err
	})
}

// limitTo makes a quota, and waits until it is in force: the API server learns of
// it, and of what is used of it, through a watch. No Secrets are allowed either, by
// which that shows.
func limitTo(t *testing.T, ns, hard string) {
	t.Helper()
	quotas := shared.Client.CoreV1().ResourceQuotas(ns)
	if _, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "quota"}, Spec: corev1.ResourceQuotaSpec{Hard: amounts(hard + " secrets=0")},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	shared.Await(t, "the quota counts", func(ctx context.Context) error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
		_, err := shared.Client.CoreV1().Secrets(ns).Create(ctx, secret, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case err == nil:
			return errors.New("it does not")
		case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
			return nil
		}
		return err
	})
}

// usedOf writes what of a quota is used.
func usedOf(t *testing.T, ns string) string {
	t.Helper()
	quota, err := shared.Client.CoreV1().ResourceQuotas(ns).Get(t.Context(), "quota", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for name, q := range quota.Status.Used {
		if name != corev1.ResourceSecrets {
			parts = append(parts, fmt.Sprintf("%s=%s", name, q.String()))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
