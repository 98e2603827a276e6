//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/node"
)

// The PriorityClasses of these tests.
const (
	urgent  = "e2e-urgent"
	patient = "e2e-patient"
)

// priority is what of a pod the scheduler orders by.
type priority struct {
	Class      string
	Value      int32
	Preemption corev1.PreemptionPolicy
}

func priorityOf(pod *corev1.Pod) priority {
	return priority{pod.Spec.PriorityClassName, *pod.Spec.Priority, *pod.Spec.PreemptionPolicy}
}

func classed(name string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.PriorityClassName = name }
}

func TestPriorityIsThatOfTheSamePodWithoutGatepass(t *testing.T) {
	t.Parallel()
	makeClasses(t)
	t.Run("what the API server writes", func(t *testing.T) {
		ns := shared.Namespace(t, nil)
		for _, class := range []string{"", urgent, patient, "system-node-critical"} {
			want := priorityOf(dryRun(t, bed.Application(ns, "plain", classed(class), func(pod *corev1.Pod) { pod.Annotations = nil })))
			for _, mode := range modes() {
				got := priorityOf(dryRun(t, bed.Application(ns, "app", classed(class), bed.Annotate("mode", mode))))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("class %q, mode %s (-plain +annotated):\n%s", class, mode, diff)
				}
			}
		}
	})
	t.Run("what the scheduler does", func(t *testing.T) {
		plain := func(pod *corev1.Pod) { pod.Annotations = nil }
		for _, row := range []struct {
			name         string
			slot         corev1.ResourceName
			victim, wins func(*corev1.Pod)
		}{
			{"without Gatepass", "example.com/plain", plain, plain},
			{"an annotated pod, mode init, preempts", "example.com/init", plain, bed.Annotate("mode", "init")},
			{"an annotated pod, mode sidecar, preempts", "example.com/sidecar", plain, bed.Sidecar},
			{"an annotated pod is preempted", "example.com/victim", bed.Sidecar, plain},
		} {
			t.Run(row.name, func(t *testing.T) {
				ns := shared.Namespace(t, nil)
				takes := takesSlot(t, row.slot)
				shared.Create(t, bed.Application(ns, "victim", takes, row.victim))
				shared.Running(t, ns, "victim")
				pod := shared.Create(t, bed.Application(ns, "urgent", takes, classed(urgent), row.wins))
				pod = shared.Running(t, ns, pod.Name)
				if len(pod.Spec.InitContainers) > 0 {
					bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
				}
				events := kubectl(t, "get", "events", "-n", ns, "--field-selector=involvedObject.name=victim,reason=Preempted", "-o", "name")
				if events == "" {
					t.Error("the scheduler tells of no preemption")
				}
			})
		}
	})
}

func makeClasses(t *testing.T) {
	t.Helper()
	classes := shared.Client.SchedulingV1().PriorityClasses()
	for _, class := range []schedulingv1.PriorityClass{
		{ObjectMeta: metav1.ObjectMeta{Name: urgent}, Value: 1000},
		{ObjectMeta: metav1.ObjectMeta{Name: patient}, Value: 500, PreemptionPolicy: new(corev1.PreemptNever)},
	} {
		if _, err := classes.Create(t.Context(), &class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		removed(t, "the PriorityClass "+class.Name, func(ctx context.Context) error { return classes.Delete(ctx, class.Name, metav1.DeleteOptions{}) })
		// The API server learns of it through a watch.
		shared.Await(t, "pods may be of class "+class.Name, func(ctx context.Context) error {
			pod := bed.Application("default", "probe", classed(class.Name))
			_, err := shared.Client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		})
	}
}

// dryRun is what the API server would make of a pod.
func dryRun(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := shared.Client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// takesSlot gives the node one piece of a resource, for which pods compete.
func takesSlot(t *testing.T, slot corev1.ResourceName) func(*corev1.Pod) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"capacity": map[corev1.ResourceName]string{slot: "1"}}})
	if err == nil {
		_, err = shared.Client.CoreV1().Nodes().Patch(t.Context(), node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil {
		t.Fatal(err)
	}
	one := corev1.ResourceList{slot: resource.MustParse("1")}
	return func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: one, Limits: one}
	}
}
