package manifests_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/manifests"
)

// recorder is a webhook that allows everything and remembers what it was
// asked about, by the pods' names.
type recorder struct {
	*httptest.Server

	mu   sync.Mutex
	seen map[string]int
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{seen: map[string]int{}}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) serve(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, 7<<20))
	review := &admissionv1.AdmissionReview{}
	if err == nil {
		err = json.Unmarshal(body, review)
	}
	if err != nil || review.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.seen[review.Request.Namespace+"/"+review.Request.Name]++
	r.mu.Unlock()
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	answer, err := json.Marshal(review)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // if it fails, the API server tells the test
}

func (r *recorder) count(pod *corev1.Pod) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[pod.Namespace+"/"+pod.Name]
}

// pointTo registers the manifests' webhook with another address.
func pointTo(t *testing.T, r *recorder) {
	t.Helper()
	_, objects := render(t, manifests.Base)
	webhook, err := manifests.Find[registrationv1.MutatingWebhookConfiguration](objects, "MutatingWebhookConfiguration", manifests.WebhookConfiguration)
	if err != nil {
		t.Fatal(err)
	}
	address := r.URL + "/mutate"
	webhook.Webhooks[0].ClientConfig = registrationv1.WebhookClientConfig{URL: &address, CABundle: certificatePEM(r.Certificate())}
	client := shared.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := client.Create(t.Context(), webhook, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kubectlCleanup(t, "delete", "mutatingwebhookconfiguration", manifests.WebhookConfiguration) })
	// The API server learns of webhooks by watching.
	await.Until(t, "the webhook is called", func() bool {
		pod := newPod("default", "until-registered")
		pod.Annotations = map[string]string{"gatepass.dev/inject": "true"}
		_, err := shared.Client.CoreV1().Pods("default").Create(t.Context(), pod, dryRun)
		return err == nil && r.count(pod) > 0
	})
}

func newPod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app:v1"}}},
	}
}

func TestTheWebhookIsAskedAboutPodsWithOurKeys(t *testing.T) {
	for _, namespace := range []string{"default", "kube-system"} {
		if err := shared.EnsureServiceAccount(t.Context(), namespace, "default"); err != nil {
			t.Fatal(err)
		}
	}
	ensureOwnNamespace(t)
	r := newRecorder(t)
	pointTo(t, r)
	type keys map[string]string
	for _, test := range []struct {
		name                string
		namespace           string
		annotations, labels keys
		asked               bool
	}{
		{"an annotated pod", "default", keys{"gatepass.dev/inject": "true"}, nil, true},
		{"a labelled pod", "default", nil, keys{"gatepass.dev/inject": "true"}, true},
		{"a pod that says no", "default", keys{"gatepass.dev/inject": "false"}, nil, true},
		{"a misspelt annotation", "default", keys{"gatepass.dev/injekt": "true"}, nil, true},
		{"a misspelt label", "default", nil, keys{"gatepass.dev/Inject": "true"}, true},
		{"one key of ours among others", "default", keys{"a": "b", "gatepass.dev/mode": "init", "z": "y"}, keys{"app": "x"}, true},
		{"a pod without annotations and labels", "default", nil, nil, false},
		{"other annotations", "default", keys{"example.com/a": "gatepass.dev/inject"}, nil, false},
		{"other labels", "default", nil, keys{"app": "gatepass.dev"}, false},
		{"a prefix that only resembles ours", "default", keys{"gatepass.dev.example.com/inject": "true", "x.gatepass.dev/inject": "true"}, nil, false},
		{"a key without our slash", "default", keys{"gatepass.dev": "true"}, nil, false},
		{"an annotated pod in kube-system", "kube-system", keys{"gatepass.dev/inject": "true"}, nil, false},
		{"an annotated pod in our own namespace", manifests.Namespace, keys{"gatepass.dev/inject": "true"}, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := newPod(test.namespace, podName(t))
			pod.Annotations, pod.Labels = test.annotations, test.labels
			if test.namespace == manifests.Namespace {
				restrict(pod)
			}
			if _, err := shared.Client.CoreV1().Pods(test.namespace).Create(t.Context(), pod, dryRun); err != nil {
				t.Fatal(err)
			}
			want := 0
			if test.asked {
				want = 1
			}
			if got := r.count(pod); got != want {
				t.Errorf("asked %d times, want %d", got, want)
			}
		})
	}
	t.Run("an update that adds a key", func(t *testing.T) {
		pod := newPod("default", podName(t))
		created, err := shared.Client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		created.Annotations = map[string]string{"gatepass.dev/inject": "true"}
		if _, err := shared.Client.CoreV1().Pods("default").Update(t.Context(), created, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := r.count(pod); got != 0 {
			t.Errorf("asked %d times, want 0", got)
		}
	})
}

func TestAnOutageStopsOnlyPodsThatAsk(t *testing.T) {
	if err := shared.EnsureServiceAccount(t.Context(), "default", "default"); err != nil {
		t.Fatal(err)
	}
	r := newRecorder(t)
	pointTo(t, r)
	r.Close()
	pods := shared.Client.CoreV1().Pods("default")
	if _, err := pods.Create(t.Context(), newPod("default", podName(t)), dryRun); err != nil {
		t.Errorf("a plain pod is refused: %v", err)
	}
	for what, pod := range map[string]*corev1.Pod{"annotated": newPod("default", "annotated"), "labelled": newPod("default", "labelled")} {
		if what == "annotated" {
			pod.Annotations = map[string]string{"gatepass.dev/inject": "true"}
		} else {
			pod.Labels = map[string]string{"gatepass.dev/inject": "true"}
		}
		if _, err := pods.Create(t.Context(), pod, dryRun); !apierrors.IsInternalError(err) {
			t.Errorf("%s pod without a webhook: error %v, want that the webhook failed", what, err)
		}
	}
}
