//go:build e2e

package life_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatepass/gatepass/test/bed"
)

// pods is how many start at once.
const pods = 12

func TestEveryApplicationHasItsSessionAtItsFirstInstruction(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	var made []*corev1.Pod
	for i := range pods {
		made = append(made, shared.Create(t, bed.Application(ns, fmt.Sprintf("pod-%d", i), bed.Sidecar)))
	}
	for i, pod := range made {
		bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
		made[i] = shared.Running(t, ns, pod.Name)
		if n := agent(made[i]).RestartCount; n != 0 {
			t.Errorf("the agent of %s was restarted %d times", pod.Name, n)
		}
	}
	atRest(t, made)
}

func TestInitContainersAfterTheAgentHaveTheSession(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	pod := shared.Create(t, bed.Application(ns, "app", bed.Sidecar, func(pod *corev1.Pod) {
		sidecar := bed.Container("sidecar")
		sidecar.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		pod.Spec.InitContainers = []corev1.Container{bed.Container("first", "once"), sidecar, bed.Container("last", "once")}
	}))
	if got := pod.Spec.InitContainers[0].Name; got != bed.AgentContainer {
		t.Fatalf("the first init container is %s", got)
	}
	for _, name := range []string{"first", "sidecar", "last", "app"} {
		bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, name))
	}
}

func TestWithoutASessionNothingOfTheApplicationStarts(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	for _, row := range []struct {
		name   string
		change func(*corev1.Pod)
		code   int32
		cause  string
	}{
		{"the gateway denies the login", bed.Annotate("audience", "somebody-else"), 5, "audience"},
		{"the application's init container comes after the agent", func(pod *corev1.Pod) {
			bed.Annotate("audience", "somebody-else")(pod)
			pod.Spec.InitContainers = []corev1.Container{bed.Container("early", "once")}
		}, 5, "audience"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			pod := shared.Create(t, bed.Application(ns, fmt.Sprintf("pod-%d", len(row.name)), bed.Sidecar, row.change))
			// Twice: the second time, the first time's files lie in the volume.
			pod = shared.WaitFor(t, ns, pod.Name, "has a failed agent", func(pod *corev1.Pod) bool {
				return agent(pod).RestartCount >= 1 && agent(pod).LastTerminationState.Terminated != nil
			})
			last := agent(pod).LastTerminationState.Terminated
			if last.ExitCode != row.code || !strings.Contains(last.Message, row.cause) {
				t.Errorf("the agent ended with %d: %s", last.ExitCode, last.Message)
			}
			for _, c := range slices.Concat(pod.Spec.InitContainers[1:], pod.Spec.Containers) {
				if s := status(pod, c.Name); s.ContainerID != "" || s.RestartCount > 0 || s.State.Waiting == nil {
					t.Errorf("container %s was started: %s", c.Name, bed.Describe(pod))
				}
			}
		})
	}
}
