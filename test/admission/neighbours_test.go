package admission_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"testing"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/gatepass/gatepass/test/await"
)

// neighbour is another project's webhook: it adds a container to every pod of
// a namespace, as webhooks of that kind do by marshalling the whole pod.
func neighbour(t *testing.T, configuration, namespace, container string, init bool) {
	t.Helper()
	handler := admission.HandlerFunc(func(_ context.Context, r admission.Request) admission.Response {
		pod := &corev1.Pod{}
		if err := json.Unmarshal(r.Object.Raw, pod); err != nil {
			return admission.Errored(400, err)
		}
		for _, c := range append(pod.Spec.Containers, pod.Spec.InitContainers...) {
			if c.Name == container {
				return admission.Allowed("it is there")
			}
		}
		added := corev1.Container{Name: container, Image: "example.com/" + container + ":v1"}
		if init { // before everything else, as service meshes like to be
			pod.Spec.InitContainers = append([]corev1.Container{added}, pod.Spec.InitContainers...)
		} else {
			pod.Spec.Containers = append(pod.Spec.Containers, added)
		}
		changed, err := json.Marshal(pod)
		if err != nil {
			return admission.Errored(500, err)
		}
		return admission.PatchResponseFromRaw(r.Object.Raw, changed)
	})
	server := httptest.NewTLSServer(&admission.Webhook{Handler: handler})
	t.Cleanup(server.Close)

	fail, equivalent, none := registrationv1.Fail, registrationv1.Equivalent, registrationv1.SideEffectClassNone
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	client := shared.cluster.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := client.Create(t.Context(), &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configuration},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name:                    container + ".example.com",
			AdmissionReviewVersions: []string{"v1"},
			ClientConfig:            registrationv1.WebhookClientConfig{URL: &server.URL, CABundle: ca},
			Rules: []registrationv1.RuleWithOperations{{Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule: registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
			FailurePolicy: &fail, MatchPolicy: &equivalent, SideEffects: &none,
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": namespace}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Delete(context.Background(), configuration, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// Webhooks are called in the order of their configurations' names; ours is
// called again when a later one has changed the pod.
func TestContainersOfOtherWebhooksGetTheSession(t *testing.T) {
	for _, row := range []struct {
		name, configuration string
		init                bool
	}{
		{"a container added before us", "a-neighbour", false},
		{"a container added after us", "z-neighbour", false},
		{"an init container added before us", "a-neighbour", true},
		{"an init container added after us", "z-neighbour", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			namespace, err := shared.cluster.CreateNamespace(t.Context(), "neighbour", nil)
			if err != nil {
				t.Fatal(err)
			}
			neighbour(t, row.configuration, namespace, "late", row.init)
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

func count(v any, name string) int {
	n := 0
	for _, o := range objects(v) {
		if o["name"] == name {
			n++
		}
	}
	return n
}
