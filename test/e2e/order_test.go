//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/neighbour"
)

// The API server calls webhooks in the order of their configurations' names;
// ours is called again when a later one has changed the pod.
func TestContainersThatAnotherWebhookAddsReadTheSession(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, configuration string
		init                bool
		// without is whether the added container is too early for a session.
		without bool
	}{
		{"a container added before us", "a-container", false, false},
		{"a container added after us", "zzz-container", false, false},
		{"an init container added before us", "a-init", true, false},
		{"an init container added after us, before the agent", "zzz-init", true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			bothModes(t, func(t *testing.T, mode func(*corev1.Pod)) {
				ns := shared.Namespace(t, nil)
				added := bed.Container("added")
				if row.init {
					added.Args = []string{"once"}
				}
				neighbour.Start(t, shared.Client, neighbour.Options{
					Configuration: row.configuration + "-" + ns, Namespace: ns, Container: added, Init: row.init,
				})
				plain := bed.Application(ns, "plain", func(pod *corev1.Pod) { pod.Annotations = nil })
				neighbourActs(t, plain)
				asking := bed.Application(ns, "app", mode)
				checkWarned(t, asking, row.without)
				pod := shared.Create(t, asking)
				bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
				got := shared.Reported(t, ns, pod.Name, "added")
				switch {
				case !row.without:
					bed.CheckSession(t, pod, got)
				case got.Session != "" || !strings.Contains(got.Problem, "no such file"):
					t.Errorf("the container before the agent reads %q: %s", got.Session, got.Problem)
				}
				bed.CheckExposure(t, got)
				checkRestarts(t, shared.Running(t, ns, pod.Name))
			})
		})
	}
}

// checkWarned fails the test unless kubectl shows exactly those authors of pods
// a warning that have a reason to worry.
func checkWarned(t *testing.T, pod *corev1.Pod, want bool) {
	t.Helper()
	pod.TypeMeta = kind("v1", "Pod")
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	_, warnings, err := shared.KubectlInput(t.Context(), string(text), "create", "--dry-run=server", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	const early = "Warning: gatepass: these init containers run before the agent, and find no session: added"
	if strings.Contains(warnings, early) != want || !want && warnings != "" {
		t.Errorf("kubectl warns of %q", warnings)
	}
}

// neighbourActs waits until the API server knows of another webhook.
func neighbourActs(t *testing.T, probe *corev1.Pod) {
	t.Helper()
	added := func(c corev1.Container) bool { return c.Name == "added" }
	shared.Await(t, "the API server calls the other webhook", func(ctx context.Context) error {
		pod, err := shared.Client.CoreV1().Pods(probe.Namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), added) {
			return errors.New("it does not")
		}
		return nil
	})
}
