//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/bed/app/report"
)

var shared *bed.Bed

func TestMain(m *testing.M) { os.Exit(bed.Main(m, bed.Options{}, &shared)) }

// patience is for what takes seconds on an idle machine.
const patience = 90 * time.Second

// Names in an injected pod.
const (
	agentContainer = "gatepass-agent"
	sessionVolume  = "gatepass-session"
)

// namespace makes a namespace for a test, in which the gateway's configuration
// lets pods log in. At the end its pods go at once, to make room on the node.
func namespace(t *testing.T, labels map[string]string) string {
	t.Helper()
	ns, err := shared.CreateNamespace(t.Context(), "e2e", labels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		ctx := context.Background()
		err := errors.Join(
			shared.Client.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{}),
			shared.Client.CoreV1().Pods(ns).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}),
		)
		if err != nil {
			t.Errorf("remove namespace %s: %v", ns, err)
		}
	})
	return ns
}

// application is a pod that asks for a session and reports what it sees.
func application(ns, name string, changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: map[string]string{"gatepass.dev/inject": "true"}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: ptr(int64(5)),
			Containers:                    []corev1.Container{container("app")},
		},
	}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// container runs the reporting application until it is told to stop.
func container(name string, args ...string) corev1.Container {
	return corev1.Container{Name: name, Image: bed.AppImage, ImagePullPolicy: corev1.PullNever, Args: args}
}

func annotate(key, value string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Annotations["gatepass.dev/"+key] = value }
}

func sidecar(pod *corev1.Pod) { pod.Annotations["gatepass.dev/mode"] = "sidecar" }

func ptr[T any](v T) *T { return &v }

// create makes a pod and returns what the API server made of it.
func create(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := shared.Client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func get(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	pod, err := shared.Client.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// eventually repeats a check until it succeeds, and fails the test if that
// does not come.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := shared.Eventually(ctx, what, check); err != nil {
		t.Fatal(err)
	}
}

// waitFor waits until a pod is as ok says, and returns it.
func waitFor(t *testing.T, ns, name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	eventually(t, fmt.Sprintf("pod %s/%s %s", ns, name, what), func(ctx context.Context) error {
		var err error
		pod, err = shared.Client.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !ok(pod) {
			return errors.New(describe(pod))
		}
		return nil
	})
	return pod
}

// running waits until every container of a pod has started.
func running(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	return waitFor(t, ns, name, "runs", func(pod *corev1.Pod) bool {
		return pod.Status.Phase == corev1.PodRunning &&
			!slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Running == nil })
	})
}

// succeeded waits until a pod has ended well.
func succeeded(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	return waitFor(t, ns, name, "has succeeded", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodSucceeded })
}

// describe says where a pod stands.
func describe(pod *corev1.Pod) string {
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

// logs is what a container has written so far.
func logs(t *testing.T, ns, pod, container string) string {
	t.Helper()
	text, err := shared.Client.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(t.Context())
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return string(text)
}

// reported is what a container saw when it started.
func reported(t *testing.T, ns, pod, container string) *report.Report {
	t.Helper()
	var r *report.Report
	eventually(t, "the report of "+container, func(ctx context.Context) error {
		text, err := shared.Client.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
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

// looks is what a container sees now.
func looks(t *testing.T, ns, pod, container string) *report.Report {
	t.Helper()
	out, _, err := shared.Kubectl(t.Context(), "exec", "-n", ns, pod, "-c", container, "--", "/app", "report")
	if err != nil {
		t.Fatal(err)
	}
	r := &report.Report{}
	if err := json.Unmarshal([]byte(out), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// checkSession fails the test unless a report has a session that the gateway
// issued to exactly this pod, and nothing that it should not have.
func checkSession(t *testing.T, pod *corev1.Pod, r *report.Report) {
	t.Helper()
	if r.Session == "" {
		t.Errorf("uid %d has no session in %q: %s", r.UID, r.TokenFile, r.Problem)
		return
	}
	claims, err := report.Claims(r.Session)
	if err != nil {
		t.Errorf("the session is no token: %v", err)
		return
	}
	sub, ok := claims["sub_claims"].(map[string]any)
	if !ok {
		t.Fatalf("the session has no sub_claims: %v", claims)
	}
	for name, want := range map[string]string{"pod_name": pod.Name, "pod_uid": string(pod.UID), "namespace": pod.Namespace} {
		if got := fmt.Sprint(sub[name]); got != "["+want+"]" {
			t.Errorf("claim %s is %s, want [%s]", name, got, want)
		}
	}
	checkExposure(t, r)
}

// checkExposure fails the test if a container other than the agent sees the
// agent's token.
func checkExposure(t *testing.T, r *report.Report) {
	t.Helper()
	for _, f := range r.Files {
		if !f.Session && slices.Contains(f.Audience, "gatepass") {
			t.Errorf("uid %d reads the agent's token at %s", r.UID, f.Path)
		}
	}
}
