//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
)

func modes() []string { return []string{"init", "sidecar"} }

// bothModes runs a test once for each mode of the agent, at the same time.
func bothModes(t *testing.T, run func(t *testing.T, mode func(*corev1.Pod))) {
	t.Helper()
	for _, mode := range modes() {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			run(t, bed.Annotate("mode", mode))
		})
	}
}

// selected finds the pods that a workload made.
const selected = "example.com/workload=it"

// template is what workloads make pods from.
func template(mode func(*corev1.Pod), args ...string) corev1.PodTemplateSpec {
	pod := bed.Application("", "", mode, func(pod *corev1.Pod) {
		pod.Labels = map[string]string{"example.com/workload": "it"}
		pod.Spec.Containers[0].Args = args
	})
	return corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
}

// once is the template of what runs to its end.
func once(mode func(*corev1.Pod)) corev1.PodTemplateSpec {
	made := template(mode, "once")
	made.Spec.RestartPolicy = corev1.RestartPolicyNever
	return made
}

// apply creates an object as a person would, with kubectl.
func apply(t *testing.T, ns string, object any) {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := shared.KubectlInput(t.Context(), string(text), "apply", "-n", ns, "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := shared.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func kind(group, name string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: group, Kind: name} }

func TestEveryKindOfWorkload(t *testing.T) {
	t.Parallel()
	labels := &metav1.LabelSelector{MatchLabels: map[string]string{"example.com/workload": "it"}}
	it := metav1.ObjectMeta{Name: "it"}
	rollout := func(resource string) func(*testing.T, string) {
		return func(t *testing.T, ns string) {
			t.Helper()
			kubectl(t, "rollout", "status", "-n", ns, resource+"/it", "--timeout=90s")
		}
	}
	complete := func(t *testing.T, ns string) {
		t.Helper()
		kubectl(t, "wait", "-n", ns, "--for=condition=Complete", "job/it", "--timeout=90s")
	}
	for _, row := range []struct {
		name string
		make func(mode func(*corev1.Pod)) any
		// ready waits until the workload is as it should be.
		ready func(t *testing.T, ns string)
		pods  int
	}{
		{"Pod", func(mode func(*corev1.Pod)) any {
			made := template(mode)
			made.Name = "it"
			return &corev1.Pod{TypeMeta: kind("v1", "Pod"), ObjectMeta: made.ObjectMeta, Spec: made.Spec}
		}, func(t *testing.T, ns string) { t.Helper(); shared.Running(t, ns, "it") }, 1},
		{"Deployment", func(mode func(*corev1.Pod)) any {
			return &appsv1.Deployment{TypeMeta: kind("apps/v1", "Deployment"), ObjectMeta: it,
				Spec: appsv1.DeploymentSpec{Replicas: new(int32(2)), Selector: labels, Template: template(mode)}}
		}, rollout("deployment"), 2},
		{"StatefulSet", func(mode func(*corev1.Pod)) any {
			return &appsv1.StatefulSet{TypeMeta: kind("apps/v1", "StatefulSet"), ObjectMeta: it,
				Spec: appsv1.StatefulSetSpec{Replicas: new(int32(2)), Selector: labels, Template: template(mode)}}
		}, rollout("statefulset"), 2},
		{"DaemonSet", func(mode func(*corev1.Pod)) any {
			return &appsv1.DaemonSet{TypeMeta: kind("apps/v1", "DaemonSet"), ObjectMeta: it,
				Spec: appsv1.DaemonSetSpec{Selector: labels, Template: template(mode)}}
		}, rollout("daemonset"), 1},
		{"Job", func(mode func(*corev1.Pod)) any {
			return &batchv1.Job{TypeMeta: kind("batch/v1", "Job"), ObjectMeta: it,
				Spec: batchv1.JobSpec{Completions: new(int32(2)), Template: once(mode)}}
		}, complete, 2},
		{"CronJob", func(mode func(*corev1.Pod)) any {
			return &batchv1.CronJob{TypeMeta: kind("batch/v1", "CronJob"), ObjectMeta: it,
				// The schedule's day does not exist: nobody waits for it.
				Spec: batchv1.CronJobSpec{Schedule: "0 0 30 2 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: once(mode)}}}}
		}, func(t *testing.T, ns string) {
			t.Helper()
			kubectl(t, "create", "job", "it", "-n", ns, "--from=cronjob/it")
			complete(t, ns)
		}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			bothModes(t, func(t *testing.T, mode func(*corev1.Pod)) {
				ns := shared.Namespace(t, nil)
				apply(t, ns, row.make(mode))
				row.ready(t, ns)
				list, err := shared.Client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: selected})
				if err != nil {
					t.Fatal(err)
				}
				if len(list.Items) != row.pods {
					t.Errorf("it has %d pods, want %d", len(list.Items), row.pods)
				}
				for i := range list.Items {
					pod := &list.Items[i]
					checkRestarts(t, pod)
					bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
				}
			})
		})
	}
}

// checkRestarts fails the test if something of a pod had to be tried again.
func checkRestarts(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	for _, all := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, c := range all {
			if c.RestartCount > 0 {
				t.Errorf("container %s of pod %s was restarted: %s", c.Name, pod.Name, bed.Describe(pod))
			}
		}
	}
}

// sidecar is a native sidecar of somebody else's.
func sidecar(name string) corev1.Container {
	c := bed.Container(name)
	c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	return c
}

func TestInitContainersReadTheSession(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		init []corev1.Container
	}{
		{"one", []corev1.Container{bed.Container("first", "once")}},
		{"several", []corev1.Container{bed.Container("first", "once"), bed.Container("second", "once"), bed.Container("third", "once")}},
		{"a native sidecar", []corev1.Container{sidecar("mesh")}},
		{"a native sidecar between others", []corev1.Container{bed.Container("first", "once"), sidecar("mesh"), bed.Container("third", "once")}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			bothModes(t, func(t *testing.T, mode func(*corev1.Pod)) {
				ns := shared.Namespace(t, nil)
				pod := shared.Create(t, bed.Application(ns, "app", mode, func(pod *corev1.Pod) { pod.Spec.InitContainers = row.init }))
				if first := pod.Spec.InitContainers[0].Name; first != bed.AgentContainer || len(pod.Spec.InitContainers) != len(row.init)+1 {
					t.Fatalf("the first of %d init containers is %s", len(pod.Spec.InitContainers), first)
				}
				for _, c := range append(row.init, pod.Spec.Containers...) {
					bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, c.Name))
				}
				checkRestarts(t, shared.Running(t, ns, pod.Name))
			})
		})
	}
}

func TestJobsCompleteBesideANativeSidecar(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode func(*corev1.Pod)) {
		ns := shared.Namespace(t, nil)
		made := once(mode)
		made.Spec.InitContainers = []corev1.Container{sidecar("mesh")}
		apply(t, ns, &batchv1.Job{TypeMeta: kind("batch/v1", "Job"), ObjectMeta: metav1.ObjectMeta{Name: "it"}, Spec: batchv1.JobSpec{Template: made}})
		kubectl(t, "wait", "-n", ns, "--for=condition=Complete", "job/it", "--timeout=90s")
		list, err := shared.Client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: selected})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("%d pods, %v", len(list.Items), err)
		}
		for _, name := range []string{"mesh", "app"} {
			bed.CheckSession(t, &list.Items[0], shared.Reported(t, ns, list.Items[0].Name, name))
		}
		for _, c := range list.Items[0].Status.InitContainerStatuses {
			if c.State.Terminated == nil || c.Name == bed.AgentContainer && c.State.Terminated.ExitCode != 0 {
				t.Errorf("the pod ended as %s", bed.Describe(&list.Items[0]))
			}
		}
	})
}

func TestOnlyListedContainersGetTheSession(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode func(*corev1.Pod)) {
		ns := shared.Namespace(t, nil)
		pod := shared.Create(t, bed.Application(ns, "app", mode, bed.Annotate("containers", "listed-init, mesh, app"), func(pod *corev1.Pod) {
			pod.Spec.InitContainers = []corev1.Container{bed.Container("other-init", "once"), bed.Container("listed-init", "once"), sidecar("mesh")}
			pod.Spec.Containers = append(pod.Spec.Containers, bed.Container("other"))
		}))
		for _, name := range []string{"listed-init", "mesh", "app"} {
			bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, name))
		}
		for _, name := range []string{"other-init", "other"} {
			got := shared.Reported(t, ns, pod.Name, name)
			bed.CheckExposure(t, got)
			if got.TokenFile != "" || got.Session != "" {
				t.Errorf("container %s was told of %q", name, got.TokenFile)
			}
			if len(got.Files) == 0 {
				t.Errorf("container %s saw no files at all", name)
			}
			for _, f := range got.Files {
				if f.Session {
					t.Errorf("container %s has a session at %s", name, f.Path)
				}
			}
		}
		checkRestarts(t, shared.Running(t, ns, pod.Name))
	})
}

// removed deletes something that is no namespace's at the end of the test.
func removed(t *testing.T, what string, remove func(context.Context) error) {
	t.Helper()
	t.Cleanup(func() {
		if err := remove(context.Background()); err != nil {
			t.Error(fmt.Errorf("remove %s: %w", what, err))
		}
	})
}
