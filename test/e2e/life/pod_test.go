//go:build e2e

package life_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/bed/app/report"
	"github.com/gatepass/gatepass/test/bed/app/watch"
	"github.com/gatepass/gatepass/test/node"
)

// short gives a pod sessions of half a minute.
func short(pod *corev1.Pod) { pod.Annotations["gatepass.dev/profile"] = "short" }

// once makes a pod end with its application.
func once(pod *corev1.Pod) { pod.Spec.RestartPolicy = corev1.RestartPolicyNever }

// runs replaces the application's arguments.
func runs(args ...string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.Containers[0].Args = args }
}

// script has the shell run before the application, or in its place. The folder
// /state outlives the container.
func script(text string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		c := &pod.Spec.Containers[0]
		c.Command, c.Args = []string{"/bin/sh", "-c", text}, nil
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "state", MountPath: "/state"})
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
}

// agent is the status of a pod's agent.
func agent(pod *corev1.Pod) *corev1.ContainerStatus { return status(pod, bed.AgentContainer) }

func status(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, all := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range all {
			if all[i].Name == name {
				return &all[i]
			}
		}
	}
	return &corev1.ContainerStatus{}
}

// agentPID is the process of a pod's agent.
func agentPID(t *testing.T, pod *corev1.Pod) int {
	t.Helper()
	pid, err := node.ContainerPID(agent(pod).ContainerID)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// session is what is in the file that the application reads.
func session(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	return read(t, bed.VolumeFile(pod, bed.SessionVolume, "token"))
}

// ends is when a token expires.
func ends(t *testing.T, token string) time.Time {
	t.Helper()
	claims, err := report.Claims(token)
	if err != nil {
		t.Fatal(err)
	}
	seconds, ok := claims["exp"].(float64)
	if !ok {
		t.Fatalf("a token that does not end: %v", claims)
	}
	return time.Unix(int64(seconds), 0)
}

// renewed waits until a pod has another session than that one.
func renewed(t *testing.T, pod *corev1.Pod, last string) string {
	t.Helper()
	var now string
	shared.Await(t, "another session in pod "+pod.Name, func(context.Context) error {
		if now = session(t, pod); now == last {
			return errors.New("it is the same still")
		}
		return nil
	})
	return now
}

// watched is what an application that ran `app watch` saw.
func watched(t *testing.T, ns, pod string) watch.Result {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(shared.Logs(t, ns, pod, "app")), "\n")
	var r watch.Result
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil || len(lines) != 2 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for _, p := range r.Problems {
		t.Error("the application read: ", p)
	}
	t.Logf("%d reads, %d sessions", r.Reads, len(r.Tokens))
	return r
}
