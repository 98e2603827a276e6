package bed

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// AgentContainer is the agent's name in a pod.
const AgentContainer = "gatepass-agent"

// AgentEnd waits for the first end of a pod's agent.
func (b *Bed) AgentEnd(t testing.TB, ns, pod string) *corev1.ContainerStateTerminated {
	t.Helper()
	var end *corev1.ContainerStateTerminated
	b.WaitFor(t, ns, pod, "has an agent that ended", func(pod *corev1.Pod) bool {
		i := slices.IndexFunc(pod.Status.InitContainerStatuses, func(c corev1.ContainerStatus) bool { return c.Name == AgentContainer })
		if i < 0 {
			return false
		}
		agent := pod.Status.InitContainerStatuses[i]
		if end = agent.State.Terminated; end == nil {
			end = agent.LastTerminationState.Terminated
		}
		return end != nil
	})
	return end
}

// AgentSays waits until the log of a pod's agent has a text in it, and returns the
// log. An agent that was started again begins a new one.
func (b *Bed) AgentSays(t testing.TB, ns, pod, text string) string {
	t.Helper()
	var log string
	b.Await(t, "the agent of pod "+pod+" says "+text, func(ctx context.Context) error {
		content, err := b.Client.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{Container: AgentContainer}).DoRaw(ctx)
		log = string(content)
		// JSON escapes quotation marks.
		if err == nil && !strings.Contains(strings.ReplaceAll(log, `\"`, `"`), text) {
			err = errors.New("it says\n" + log)
		}
		return err
	})
	return log
}
