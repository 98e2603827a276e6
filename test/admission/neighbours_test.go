package admission_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/neighbour"
)

// Webhooks are called in the order of their configurations' names; ours is
// called again when a later one has changed the pod.
func TestContainersOfOtherWebhooksGetTheSession(t *testing.T) {
	for _, row := range []struct {
		name, configuration string
		init                bool
	}{
		{"a container added before us", "a-neighbour", false},
		{"a container added after us", "zzz-neighbour", false},
		{"an init container added before us", "a-neighbour", true},
		{"an init container added after us", "zzz-neighbour", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			namespace, err := shared.cluster.CreateNamespace(t.Context(), "neighbour", nil)
			if err != nil {
				t.Fatal(err)
			}
			neighbour.Start(t, shared.cluster.Client, neighbour.Options{
				Configuration: row.configuration, Namespace: namespace, Init: row.init,
				Container: corev1.Container{Name: "late", Image: "example.com/late:v1"},
			})
			list := "containers"
			if row.init {
				list = "initContainers"
			}
			var spec object
			await.Until(t, "the API server to call the other webhook", func() bool {
				pod, _, err := shared.create(t.Context(), namespace, asking("mypod1"), true)
				if err != nil {
					return false
				}
				spec = at(pod, "spec")
				return named(spec[list], "late") != nil
			})
			late := named(spec[list], "late")
			if named(late["volumeMounts"], "gatepass-session") == nil || named(late["env"], "GATEPASS_TOKEN_FILE") == nil {
				t.Errorf("the container lacks the session: %v", late)
			}
			if named(late["volumeMounts"], "gatepass-identity") != nil {
				t.Error("the container sees the agent's token")
			}
			for list, name := range map[string]string{"initContainers": "gatepass-agent", "volumes": "gatepass-session"} {
				if n := count(spec[list], name); n != 1 {
					t.Errorf("the pod has %d of %s", n, name)
				}
			}
			for _, m := range objects(named(spec["initContainers"], "gatepass-agent")["volumeMounts"]) {
				if m["name"] != "gatepass-session" && m["name"] != "gatepass-identity" {
					t.Errorf("the agent mounts %v", m)
				}
			}
		})
	}
}

// The ServiceAccount admission plugin gives a pod the Secrets of its account
// only if it has none. Ours come later, and must not take their place, also
// when the API server asks again.
func TestSecretsForTheAgentsImageDoNotReplaceThoseOfTheAccount(t *testing.T) {
	namespace, err := shared.cluster.CreateNamespace(t.Context(), "pull", nil)
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "puller"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "of-the-account"}, {Name: "shared"}}}
	if _, err := shared.cluster.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secrets := func(own ...any) (got []any, late bool) {
		pod := annotated("mypod1", map[string]string{"gatepass.dev/inject": "true", "gatepass.dev/profile": "pulled"})
		at(pod, "spec")["serviceAccountName"] = account.Name
		if own != nil {
			at(pod, "spec")["imagePullSecrets"] = own
		}
		created, _, err := shared.create(t.Context(), namespace, pod, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range objects(at(created, "spec")["imagePullSecrets"]) {
			got = append(got, s["name"])
		}
		return got, named(at(created, "spec")["containers"], "late") != nil
	}
	check := func() {
		t.Helper()
		for _, row := range []struct{ own, want []any }{
			{nil, []any{"of-the-account", "shared", "mirror"}},
			{[]any{object{"name": "team"}}, []any{"team", "mirror", "shared"}},
		} {
			got, _ := secrets(row.own...)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		}
	}
	check()
	neighbour.Start(t, shared.cluster.Client, neighbour.Options{
		Configuration: "zzz-neighbour", Namespace: namespace, Container: corev1.Container{Name: "late", Image: "example.com/late:v1"},
	})
	await.Until(t, "the API server to call the other webhook", func() bool {
		_, late := secrets()
		return late
	})
	check()
}

func count(v any, name string) int {
	n := 0
	for _, o := range objects(v) {
		if o["name"] == name {
			n++
		}
	}
	return n
}
