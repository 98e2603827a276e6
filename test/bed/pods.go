package bed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/gatepass/gatepass/test/bed/app/report"
)

// patience is for what takes seconds on an idle machine.
const patience = 90 * time.Second

// Namespace makes a namespace for a test, in which the gateway's configuration
// lets pods log in. At the end its pods go at once, to make room on the node.
func (b *Bed) Namespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	ns, err := b.CreateNamespace(t.Context(), "e2e", labels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		ctx := context.Background()
		err := errors.Join(
			b.Client.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{}),
			b.Client.CoreV1().Pods(ns).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}),
		)
		if err != nil {
			t.Errorf("remove namespace %s: %v", ns, err)
		}
	})
	return ns
}

// Application is a pod that asks for a session and reports what it sees.
func Application(ns, name string, changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: map[string]string{"gatepass.dev/inject": "true"}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(5)),
			Containers:                    []corev1.Container{Container("app")},
		},
	}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// Container runs the reporting application until it is told to stop.
func Container(name string, args ...string) corev1.Container {
	return corev1.Container{Name: name, Image: AppImage, ImagePullPolicy: corev1.PullNever, Args: args}
}

// Annotate sets one of our annotations; its key is without the prefix.
func Annotate(key, value string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Annotations["gatepass.dev/"+key] = value }
}

// Sidecar chooses that mode.
func Sidecar(pod *corev1.Pod) { pod.Annotations["gatepass.dev/mode"] = "sidecar" }

// Create makes a pod and returns what the API server made of it.
func (b *Bed) Create(t testing.TB, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := b.Client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Get reads a pod.
func (b *Bed) Get(t testing.TB, ns, name string) *corev1.Pod {
	t.Helper()
	pod, err := b.Client.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// Await repeats a check until it succeeds, and fails the test if that
// does not come.
func (b *Bed) Await(t testing.TB, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Eventually(ctx, what, check); err != nil {
		t.Fatal(err)
	}
}

// WaitFor waits until a pod is as ok says, and returns it.
func (b *Bed) WaitFor(t testing.TB, ns, name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	b.Await(t, fmt.Sprintf("pod %s/%s %s", ns, name, what), func(ctx context.Context) error {
		var err error
		pod, err = b.Client.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !ok(pod) {
			return errors.New(Describe(pod))
		}
		return nil
	})
	return pod
}

// WatchPods shows what becomes of a namespace's pods since a list or a pod had its
// resource version. The API server ends watches when it likes; this goes on.
func (b *Bed) WatchPods(ctx context.Context, ns, fieldSelector, resourceVersion string) (watch.Interface, error) {
	return watchtools.NewRetryWatcherWithContext(ctx, resourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = fieldSelector
			return b.Client.CoreV1().Pods(ns).Watch(ctx, o)
		},
	})
}

// Running waits until every container of a pod has started.
func (b *Bed) Running(t testing.TB, ns, name string) *corev1.Pod {
	t.Helper()
	return b.WaitFor(t, ns, name, "runs", func(pod *corev1.Pod) bool {
		return pod.Status.Phase == corev1.PodRunning &&
			!slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Running == nil })
	})
}

// Succeeded waits until a pod has ended well.
func (b *Bed) Succeeded(t testing.TB, ns, name string) *corev1.Pod {
	t.Helper()
	return b.WaitFor(t, ns, name, "has succeeded", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodSucceeded })
}

// Describe says where a pod stands.
func Describe(pod *corev1.Pod) string {
	text := &strings.Builder{}
	fmt.Fprintf(text, "phase %s", pod.Status.Phase)
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		switch {
		case c.State.Waiting != nil:
			fmt.Fprintf(text, "; %s waits: %s %s", c.Name, c.State.Waiting.Reason, c.State.Waiting.Message)
		case c.State.Terminated != nil:
			fmt.Fprintf(text, "; %s ended with %d: %s", c.Name, c.State.Terminated.ExitCode, c.State.Terminated.Message)
		case c.State.Running != nil:
			fmt.Fprintf(text, "; %s runs", c.Name)
		}
	}
	return text.String()
}

// Logs is what a container has written so far.
func (b *Bed) Logs(t testing.TB, ns, pod, container string) string {
	t.Helper()
	text, err := b.Client.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(t.Context())
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return string(text)
}

// Reported is what a container saw when it started.
func (b *Bed) Reported(t testing.TB, ns, pod, container string) *report.Report {
	t.Helper()
	var r *report.Report
	b.Await(t, "the report of "+container, func(ctx context.Context) error {
		text, err := b.Client.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
		if err != nil {
			return err
		}
		first, _, whole := strings.Cut(string(text), "\n")
		if !whole {
			return fmt.Errorf("no whole line yet: %q", first)
		}
		r = &report.Report{}
		return json.Unmarshal([]byte(first), r)
	})
	return r
}

// Look is what a container sees now.
func (b *Bed) Look(t testing.TB, ns, pod, container string) *report.Report {
	t.Helper()
	out, _, err := b.Kubectl(t.Context(), "exec", "-n", ns, pod, "-c", container, "--", "/app", "once")
	if err != nil {
		t.Fatal(err)
	}
	r := &report.Report{}
	if err := json.Unmarshal([]byte(out), r); err != nil {
		t.Fatal(err)
	}
	return r
}
