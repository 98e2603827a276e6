package admission_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/await"
)

// stored creates a pod until the test ends, under a name that begins as it says,
// and returns what the API server then has.
func stored(t *testing.T, pod object) *corev1.Pod {
	t.Helper()
	meta := at(pod, "metadata")
	meta["generateName"] = fmt.Sprint(meta["name"], "-")
	delete(meta, "name")
	created, _, err := shared.create(t.Context(), shared.namespace, pod, false)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(created)
	if err != nil {
		t.Fatal(err)
	}
	typed := &corev1.Pod{}
	if err := json.Unmarshal(raw, typed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		err := shared.cluster.Client.CoreV1().Pods(typed.Namespace).Delete(context.WithoutCancel(t.Context()), typed.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	return typed
}

// patch is a strategic merge patch of a pod or a subresource, with its warnings.
func patch(t *testing.T, pod *corev1.Pod, text string, subresources ...string) ([]string, error) {
	t.Helper()
	var w warnings
	err := shared.cluster.Client.CoreV1().RESTClient().Patch("application/strategic-merge-patch+json").
		Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource(subresources...).
		Body([]byte(text)).WarningHandler(&w).Do(t.Context()).Error()
	return w.text, err
}

const agentPolicy = "gatepass-ephemeral-containers"

func ephemeral(name, volume string, readOnly bool) string {
	mounts := ""
	if volume != "" {
		mounts = fmt.Sprintf(`,"volumeMounts":[{"name":%q,"mountPath":"/mnt","readOnly":%t}]`, volume, readOnly)
	}
	return fmt.Sprintf(`{"spec":{"ephemeralContainers":[{"name":%q,"image":"example.com/debug:v1"%s}]}}`, name, mounts)
}

func TestEphemeralContainersGetNeitherTheTokenNorAWritableSession(t *testing.T) {
	pod := stored(t, asking("debugged"))
	const debug = "ephemeralcontainers"
	await.Until(t, "the token to be refused", func() bool {
		_, err := patch(t, pod, ephemeral("a", "gatepass-identity", true), debug)
		return refusedBy(err, agentPolicy, "may not mount gatepass-identity")
	})
	if _, err := patch(t, pod, ephemeral("b", "gatepass-session", false), debug); !refusedBy(err, agentPolicy, "may not mount gatepass-session writable") {
		t.Errorf("a writable session: %v", err)
	}
	if _, err := patch(t, pod, ephemeral("c", "gatepass-session", true), debug); err != nil {
		t.Errorf("a read-only session: %v", err)
	}
	if _, err := patch(t, pod, ephemeral("d", "", false), debug); err != nil {
		t.Errorf("no volume: %v", err)
	}
	other := annotated("with-our-names", nil)
	at(other, "spec")["volumes"] = []any{object{"name": "gatepass-identity", "emptyDir": object{}}}
	if _, err := patch(t, stored(t, other), ephemeral("e", "gatepass-identity", false), debug); err != nil {
		t.Errorf("a pod without an agent: %v", err)
	}
}

func TestTheAgentsImageCantBeChangedInAPodThatRuns(t *testing.T) {
	pod := stored(t, asking("image"))
	await.Until(t, "another image to be refused", func() bool {
		_, err := patch(t, pod, `{"spec":{"initContainers":[{"name":"gatepass-agent","image":"example.com/other:v1"}]}}`)
		return refusedBy(err, "gatepass-agent-image", "the image of gatepass-agent can't be changed")
	})
	if _, err := patch(t, pod, `{"spec":{"containers":[{"name":"app","image":"example.com/app:v2"}]}}`); err != nil {
		t.Errorf("the application's image: %v", err)
	}
}

func TestAChangeOfOurKeysInAPodThatRunsIsWarnedOf(t *testing.T) {
	const says = "has no effect in a pod that is there"
	for name, row := range map[string]struct {
		pod    object
		change string
	}{
		"annotated afterwards": {annotated("late-annotation", nil), `{"metadata":{"annotations":{"gatepass.dev/inject":"true"}}}`},
		"labelled afterwards":  {annotated("late-label", nil), `{"metadata":{"labels":{"gatepass.dev/inject":"true"}}}`},
		"a forged status":      {annotated("late-status", nil), `{"metadata":{"annotations":{"gatepass.dev/status":"injected"}}}`},
		"another value":        {asking("late-value"), `{"metadata":{"annotations":{"gatepass.dev/inject":"false"}}}`},
		"a key taken away":     {asking("late-removal"), `{"metadata":{"annotations":{"gatepass.dev/inject":null}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			warned, err := patch(t, stored(t, row.pod), row.change)
			if err != nil || !strings.Contains(strings.Join(warned, "\n"), says) {
				t.Errorf("%v, warned of %q", err, warned)
			}
		})
	}
}

// A pod that was annotated before the policies were installed has no agent, and
// gets none before it is created again.
func TestUpdatesOfControllersAndFinalizersPass(t *testing.T) {
	old := stored(t, annotated("made-before", nil))
	if _, err := patch(t, old, `{"metadata":{"annotations":{"gatepass.dev/inject":"true"}}}`); err != nil {
		t.Fatal(err)
	}
	for _, pod := range []*corev1.Pod{old, stored(t, asking("made-after"))} {
		for _, row := range []struct {
			change       string
			subresources []string
		}{
			{`{"metadata":{"finalizers":["example.com/keep"]}}`, nil},
			{`{"metadata":{"labels":{"pod-template-hash":"x"},"annotations":{"example.com/a":"b"}}}`, nil},
			{`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"b"}]}}`, nil},
			{`{"status":{"phase":"Running"}}`, []string{"status"}},
		} {
			if warned, err := patch(t, pod, row.change, row.subresources...); err != nil || len(warned) > 0 {
				t.Errorf("%s: %s: %v, warned of %q", pod.Name, row.change, err, warned)
			}
		}
		now := int64(0)
		pods := shared.cluster.Client.CoreV1().Pods(pod.Namespace)
		if err := pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Fatal(err)
		}
		if warned, err := patch(t, pod, `{"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/keep"]}}`); err != nil || len(warned) > 0 {
			t.Errorf("%s: the finalizer: %v, warned of %q", pod.Name, err, warned)
		}
		if _, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s is still there: %v", pod.Name, err)
		}
	}
}
