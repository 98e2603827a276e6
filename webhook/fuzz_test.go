package webhook

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/injector"
)

// FuzzReview holds that any body at all gets an AdmissionReview for an answer,
// that an answer with status 200 names the request's uid, and that patches
// only add.
func FuzzReview(f *testing.F) {
	for _, body := range []string{
		reviewOf(annotatedPod, nil),
		reviewOf(podWith("dev/inject", "dev/injct"), nil),
		reviewOf(podWith(`"gatepass.dev/inject":"true"`, ""), nil),
		reviewOf("null", map[string]any{"operation": "DELETE"}),
		reviewOf(`{"kind":"Binding"}`, map[string]any{"subResource": "binding"}),
		strings.Replace(reviewOf(annotatedPod, nil), "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1),
		reviewOf(annotatedPod, nil)[:500],
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"\u2028\ud83d\ude00","operation":"CREATE","kind":{"version":"v1","kind":"Pod"},"object":{}}}`,
		"null", "[]", "", "{", "\xff",
	} {
		f.Add([]byte(body))
	}
	d, m := newInjector(f), newMetrics(func() time.Time { return time.Time{} })
	f.Fuzz(func(t *testing.T, body []byte) {
		log, logger := newLog()
		h := newHandler(func() decider { return d }, new(atomic.Bool), m, logger)
		recorder := httptest.NewRecorder()
		request := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(string(body)))
		request.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(recorder, request)
		a := strict(t, recorder.Body.Bytes())
		if a.AuditAnnotations["reason"] == string(reasonInternalError) {
			t.Fatalf("a panic: %s", log)
		}
		if recorder.Code == http.StatusOK {
			var sent struct {
				Request struct {
					UID string `json:"uid"`
				} `json:"request"`
			}
			// Names are case-sensitive, unlike those of encoding/json.
			if err := jsonv2.Unmarshal(body, &sent); err != nil {
				t.Fatalf("a body that is no JSON has an answer: %v", err)
			}
			if a.UID == "" || string(a.UID) != sent.Request.UID {
				t.Fatalf("uid %q became %q", sent.Request.UID, a.UID)
			}
		} else if a.Allowed {
			t.Fatalf("status %d, and yet allowed", recorder.Code)
		}
		if (a.Patch != nil) != (a.AuditAnnotations["result"] == string(injector.Injected)) {
			t.Fatalf("the result does not fit the patch: %s", recorder.Body)
		}
		var operations []struct{ Op string }
		if a.Patch != nil {
			if err := json.Unmarshal(a.Patch, &operations); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range operations {
			if o.Op != "add" {
				t.Fatalf("the patch holds a %q operation", o.Op)
			}
		}
		if got := len(log.with(t, "admission")); got != 1 {
			t.Fatalf("%d lines in the log", got)
		}
	})
}
