//go:build e2e

package life_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gatepass/gatepass/test/bed"
)

// secondTime has the application run when its container is started again.
func secondTime(mode string) func(*corev1.Pod) {
	return script("if test -e /state/tried; then exec /app " + mode + "; fi; touch /state/tried; exit 3")
}

func TestJobsComplete(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	for _, row := range []struct {
		name     string
		policy   corev1.RestartPolicy
		change   func(*corev1.Pod)
		restarts int32
	}{
		{"never restarted", corev1.RestartPolicyNever, runs("once"), 0},
		{"restarted on failure", corev1.RestartPolicyOnFailure, runs("once"), 0},
		{"restarted on failure, and the first attempt fails", corev1.RestartPolicyOnFailure, secondTime("once"), 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			template := bed.Application(ns, "", bed.Sidecar, row.change)
			template.Spec.RestartPolicy = row.policy
			job, err := shared.Client.BatchV1().Jobs(ns).Create(t.Context(), &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"},
				Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: template.ObjectMeta, Spec: template.Spec}},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			shared.Await(t, "the Job is complete", func(ctx context.Context) error {
				job, err := shared.Client.BatchV1().Jobs(ns).Get(ctx, job.Name, metav1.GetOptions{})
				if err == nil && (job.Status.Succeeded != 1 || job.Status.CompletionTime == nil) {
					err = errors.New("it is not")
				}
				return err
			})
			list, err := shared.Client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "batch.kubernetes.io/job-name=" + job.Name})
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Items) != 1 {
				t.Fatalf("the Job made %d pods", len(list.Items))
			}
			pod := &list.Items[0]
			end := agent(pod).State.Terminated
			if pod.Status.Phase != corev1.PodSucceeded || end == nil || end.ExitCode != 0 || status(pod, "app").RestartCount != row.restarts || agent(pod).RestartCount != 0 {
				t.Errorf("%s", bed.Describe(pod))
			}
			bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
		})
	}
}

func TestAnApplicationThatCrashesFindsItsSessionAgain(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar, secondTime("")))
	pod := shared.WaitFor(t, ns, "app", "runs for the second time", func(pod *corev1.Pod) bool {
		return status(pod, "app").RestartCount == 1 && status(pod, "app").State.Running != nil
	})
	bed.CheckSession(t, pod, shared.Reported(t, ns, "app", "app"))
	if n := agent(pod).RestartCount; n != 0 {
		t.Errorf("the agent was restarted %d times", n)
	}
}

func TestTheEndOfAPod(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	const grace = 20
	for _, row := range []struct {
		name, pod string
		change    func(*corev1.Pod)
		says      []string
		silent    string
	}{
		{"is not delayed by its agent", "plain", func(*corev1.Pod) {}, []string{"agent stops"}, "revoked"},
		{"is not delayed by a revocation", "revoking", bed.Annotate("revoke-on-exit", "true"),
			[]string{"agent stops", "session revoked"}, "could not be revoked"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			shared.Create(t, bed.Application(ns, row.pod, bed.Sidecar, row.change, func(pod *corev1.Pod) {
				pod.Spec.TerminationGracePeriodSeconds = new(int64(grace))
			}))
			pod := shared.Running(t, ns, row.pod)
			log := follow(t, pod)
			began := time.Now()
			ended := deleted(t, pod)
			took := time.Since(began)
			text := <-log
			app, agent := status(ended, "app").State.Terminated, agent(ended).State.Terminated
			if app == nil || agent == nil {
				t.Fatalf("the pod went as %s", bed.Describe(ended))
			}
			if app.ExitCode != 0 || agent.ExitCode != 0 {
				t.Errorf("the pod ended as %s", bed.Describe(ended))
			}
			// Whole seconds, and three for a revocation.
			if late := agent.FinishedAt.Sub(app.FinishedAt.Time); late > 5*time.Second || took > (grace-5)*time.Second {
				t.Errorf("the agent ended %s after the application, the pod %s after its deletion", late, took)
			}
			t.Logf("gone %s after its deletion; the agent said\n%s", took, text)
			for _, want := range row.says {
				if strings.Count(text, want) != 1 {
					t.Errorf("the agent did not say %q once:\n%s", want, text)
				}
			}
			if strings.Contains(text, row.silent) {
				t.Errorf("the agent said %q:\n%s", row.silent, text)
			}
		})
	}
}

// follow reads an agent's log to its end.
func follow(t *testing.T, pod *corev1.Pod) <-chan string {
	t.Helper()
	stream, err := shared.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: bed.AgentContainer, Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(stream)
		_ = stream.Close()
		all <- string(text)
	}()
	return all
}

// deleted deletes a pod, waits until it is gone, and returns what it was last.
func deleted(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	pods := shared.Client.CoreV1().Pods(pod.Namespace)
	changes, err := shared.WatchPods(t.Context(), pod.Namespace, "metadata.name="+pod.Name, pod.ResourceVersion)
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Stop()
	if err := pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for change := range changes.ResultChan() {
		now, ok := change.Object.(*corev1.Pod)
		if !ok {
			t.Fatalf("the API server says %v", change.Object)
		}
		if change.Type == watch.Deleted {
			return now
		}
	}
	t.Fatal("the API server told no end of the pod")
	return nil
}
