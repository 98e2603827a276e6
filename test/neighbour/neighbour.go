// Package neighbour is another project's admission webhook, for tests of what
// its presence does to ours.
package neighbour

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"slices"
	"testing"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Options describe a webhook.
type Options struct {
	// Configuration is the name of its configuration. The API server calls
	// webhooks in the order of these names.
	Configuration string
	// Namespace is whose pods it sees.
	Namespace string
	// Container is what it adds to each of them, if it is not there.
	Container corev1.Container
	// Init makes it the first of the init containers, where service meshes like
	// to be, and not the last of the containers.
	Init bool
	// Change, if set, is what it does to each pod instead of adding Container. It
	// is then called again, as our webhook is, when another has changed the pod.
	Change func(*corev1.Pod)
}

// Start runs a webhook until the test ends, and tells the API server of it,
// which takes a moment to act on that. It changes pods as most webhooks do: by
// decoding the whole, and marshalling it again.
func Start(t *testing.T, client kubernetes.Interface, o Options) {
	t.Helper()
	server := httptest.NewTLSServer(&admission.Webhook{Handler: admission.HandlerFunc(o.mutate)})
	t.Cleanup(server.Close)
	fail, equivalent, none := registrationv1.Fail, registrationv1.Equivalent, registrationv1.SideEffectClassNone
	name, reinvocation := o.Container.Name, registrationv1.NeverReinvocationPolicy
	if o.Change != nil {
		name, reinvocation = o.Configuration, registrationv1.IfNeededReinvocationPolicy
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	configurations := client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := configurations.Create(t.Context(), &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: o.Configuration},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name:                    name + ".example.com",
			AdmissionReviewVersions: []string{"v1"},
			ClientConfig:            registrationv1.WebhookClientConfig{URL: &server.URL, CABundle: ca},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			FailurePolicy: &fail, MatchPolicy: &equivalent, SideEffects: &none, ReinvocationPolicy: &reinvocation,
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: o.Namespace}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := configurations.Delete(context.Background(), o.Configuration, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func (o Options) mutate(_ context.Context, r admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := json.Unmarshal(r.Object.Raw, pod); err != nil {
		return admission.Errored(400, err)
	}
	ours := func(c corev1.Container) bool { return c.Name == o.Container.Name }
	switch {
	case o.Change != nil:
		o.Change(pod)
	case slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), ours):
		return admission.Allowed("it is there")
	case o.Init:
		pod.Spec.InitContainers = slices.Insert(pod.Spec.InitContainers, 0, o.Container)
	default:
		pod.Spec.Containers = append(pod.Spec.Containers, o.Container)
	}
	changed, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(500, err)
	}
	return admission.PatchResponseFromRaw(r.Object.Raw, changed)
}
