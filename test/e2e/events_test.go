//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/documented"
	"github.com/gatepass/gatepass/test/repo"
)

// Pods of a Deployment are created by its ReplicaSets, of which a changed Deployment
// has several.
func TestDocumentedCommandsShowWhyADeploymentHasNoPods(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	labels := map[string]string{"app": "app"}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"gatepass.dev/injekt": "true"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{bed.Container("app")}},
	}
	deployments := shared.Client.AppsV1().Deployments(ns)
	if _, err := deployments.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "app"},
		Spec:       appsv1.DeploymentSpec{Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	refused(t, ns, 1)
	if _, err := deployments.Patch(t.Context(), "app", types.MergePatchType,
		[]byte(`{"spec":{"template":{"metadata":{"annotations":{"gatepass.dev/injekt":"yes"}}}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	refused(t, ns, 2)

	for _, command := range commandsOfDocs(t) {
		t.Run(command, func(t *testing.T) {
			out, err := documented.Run(t, shared.Kubeconfig, shared.Binaries(), command+" -n "+ns)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(out, "did you mean gatepass.dev/inject?"); got < 2 {
				t.Errorf("it shows %d refusals:\n%s", got, out)
			}
		})
	}
}

// refused waits until so many ReplicaSets have an event that a pod could not be
// created.
func refused(t *testing.T, ns string, replicaSets int) {
	t.Helper()
	shared.Await(t, "pods are refused", func(ctx context.Context) error {
		events, err := shared.Client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
		if err != nil {
			return err
		}
		told := map[string]bool{}
		for i := range events.Items {
			told[events.Items[i].InvolvedObject.Name] = true
		}
		if len(told) < replicaSets {
			return errors.New("there is no event")
		}
		return nil
	})
}

// commandsOfDocs are what README and docs have people type.
func commandsOfDocs(t *testing.T) []string {
	t.Helper()
	var commands []string
	for _, command := range documented.Commands(t, "docs/annotations.md", "## When a pod is refused") {
		if strings.Contains(command, "events") {
			commands = append(commands, command)
		}
	}
	if len(commands) < 2 {
		t.Fatalf("docs/annotations.md has the commands %q", commands)
	}
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(readme), "| A Deployment has no pods | `")
	command, _, ended := strings.Cut(after, "`")
	if !ok || !ended {
		t.Fatal("README.md has no row for a Deployment that has no pods")
	}
	return append(commands, command)
}
