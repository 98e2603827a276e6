package webhook

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/injector"
)

// panicking is a decider that fails in the worst way.
type panicking struct{}

func (panicking) Decide([]byte) injector.Decision { panic(errors.New("index out of range")) }

// chunked hides its length, so that a client sends chunks.
type chunked struct{ io.Reader }

type hostile struct {
	name        string
	method      string // POST if empty
	contentType string // application/json if empty, none if "-"
	body        io.Reader
	decider     decider // an injector with a good profile if nil

	status  int // of HTTP
	code    int32
	uid     bool // whether the request has one that must come back
	allowed bool
	result  injector.Result
	reason  injector.Reason
	says    string
}

func text(s string) io.Reader { return strings.NewReader(s) }

func hostileRequests() []hostile {
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	invalid := podWith(`"spec":{`, `"spec":{"schedulerName":"`+"\xff"+`",`)
	denied := hostile{result: injector.Denied}
	bad := func(name, says string, body io.Reader) hostile {
		h := denied
		h.name, h.says, h.body, h.status, h.code, h.reason = name, says, body, 400, 400, reasonBadRequest
		return h
	}
	echo := func(h hostile) hostile { h.uid = true; return h }
	in200 := func(h hostile) hostile { h.status, h.uid = 200, true; return h }
	return []hostile{
		bad("an empty body", "not a JSON AdmissionReview", text("")),
		bad("no body at all", "not a JSON AdmissionReview", http.NoBody),
		bad("a body that is no JSON", "not a JSON AdmissionReview", text("hello")),
		bad("a JSON array", "not a JSON AdmissionReview", text("[]")),
		bad("JSON null", "kind is \"\"", text("null")),
		bad("two reviews in one body", "not a JSON AdmissionReview", text(reviewOf(annotatedPod, nil)+reviewOf(annotatedPod, nil))),
		bad("truncated JSON", "not a JSON AdmissionReview", text(reviewOf(annotatedPod, nil)[:700])),
		bad("no request", "has no request", text(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`)),
		bad("a null request", "has no request", text(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}`)),
		bad("a request without a uid", "has no uid", text(reviewOf(annotatedPod, map[string]any{"uid": nil}))),
		bad("a uid that is a number", "not a JSON AdmissionReview", text(reviewOf(annotatedPod, map[string]any{"uid": 5}))),
		bad("bytes that are not UTF-8", "not a JSON AdmissionReview", text(strings.Replace(reviewOf(annotatedPod, nil), "mypod1", "my\xff\xfepod", 1))),
		bad("invalid UTF-8 inside of the pod", "not a JSON AdmissionReview", text(strings.Replace(reviewOf("{}", nil), `"object":{}`, `"object":`+invalid, 1))),
		bad("duplicate keys", "duplicate", text(strings.Replace(reviewOf(annotatedPod, nil), `"request":`, `"request":null,"request":`, 1))),
		bad("duplicate keys inside of the pod", "duplicate", text(strings.Replace(reviewOf(annotatedPod, nil), `"spec":`, `"spec":{},"spec":`, 1))),
		bad("a hundred thousand levels", "not a JSON AdmissionReview", text(strings.Replace(reviewOf(annotatedPod, nil), `"spec":`, `"deep":`+deep+`,"spec":`, 1))),
		echo(bad("apiVersion v1beta1", "admissionReviewVersions: [v1]", text(strings.Replace(reviewOf(annotatedPod, nil), "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1)))),
		echo(bad("another kind", `kind is "Pod"`, text(strings.Replace(reviewOf(annotatedPod, nil), `"kind":"AdmissionReview"`, `"kind":"Pod"`, 1)))),
		in200(bad("no object", "no object", text(reviewOf("", nil)))),
		in200(bad("a null object", "no object", text(reviewOf("null", nil)))),
		{name: "an object that is a string", body: text(reviewOf(`"pod"`, nil)), status: 200, code: 403, uid: true, result: injector.Denied, reason: injector.ReasonMalformedPod, says: "not a pod that can be read"},
		{name: "a Deployment", body: text(reviewOf(annotatedPod, map[string]any{"kind": map[string]any{"group": "apps", "version": "v1", "kind": "Deployment"}})),
			status: 200, code: 400, uid: true, result: injector.Denied, reason: reasonNotAPod, says: "apps/v1 Deployment"},
		{name: "a pod of another group", body: text(reviewOf(annotatedPod, map[string]any{"kind": map[string]any{"group": "example.com", "version": "v1", "kind": "Pod"}})),
			status: 200, code: 400, uid: true, result: injector.Denied, reason: reasonNotAPod, says: "example.com/v1 Pod"},
		{name: "an UPDATE", body: text(reviewOf(annotatedPod, map[string]any{"operation": "UPDATE"})), status: 200, uid: true, allowed: true, result: injector.Skipped, reason: reasonNotCreation},
		{name: "a DELETE, which has no object", body: text(reviewOf("null", map[string]any{"operation": "DELETE"})), status: 200, uid: true, allowed: true, result: injector.Skipped, reason: reasonNotCreation},
		{name: "an ephemeral container", body: text(reviewOf(annotatedPod, map[string]any{"operation": "UPDATE", "subResource": "ephemeralcontainers"})),
			status: 200, uid: true, allowed: true, result: injector.Skipped, reason: reasonNotCreation},
		{name: "a binding, which is created in a subresource", body: text(reviewOf(`{"apiVersion":"v1","kind":"Binding"}`, map[string]any{"subResource": "binding", "kind": map[string]any{"version": "v1", "kind": "Binding"}})),
			status: 200, uid: true, allowed: true, result: injector.Skipped, reason: reasonNotCreation},
		{name: "more than 7 MiB", body: io.MultiReader(text(`{"a":"`), io.LimitReader(zeros{}, maxBody)), status: 413, code: 413, result: injector.Denied, reason: reasonTooLarge, says: "larger than 7340032 bytes"},
		{name: "more than 7 MiB with a Content-Length", body: bytes.NewReader(make([]byte, maxBody+1)), status: 413, code: 413, result: injector.Denied, reason: reasonTooLarge, says: "larger than"},
		{name: "more values than may be", body: text(strings.Replace(reviewOf(annotatedPod, nil), `"spec":`, `"more":[`+strings.Repeat(`1,`, maxValues)+`1],"spec":`, 1)),
			status: 200, code: 413, uid: true, result: injector.Denied, reason: reasonTooLarge, says: "more than 131072 values"},
		{name: "more names than may be, one of them twice", body: text(strings.Replace(reviewOf(annotatedPod, nil), `"spec":`, `"a":{`+strings.Repeat(`"n":1,`, maxValues)+`"n":1},"spec":`, 1)),
			status: 200, code: 413, uid: true, result: injector.Denied, reason: reasonTooLarge, says: "make it smaller"},
		{name: "more values than may be, and no uid", body: text(`{"request":{"a":[` + strings.Repeat(`{},`, maxValues) + `{}]}}`),
			status: 400, code: 400, result: injector.Denied, reason: reasonBadRequest, says: "more than 131072 values"},
		{name: "lists deeper than pods have them", body: text(strings.Replace(reviewOf(annotatedPod, nil), `"spec":`, `"deep":`+strings.Repeat("[", maxDepth)+strings.Repeat("]", maxDepth)+`,"spec":`, 1)),
			status: 200, code: 413, uid: true, result: injector.Denied, reason: reasonTooLarge, says: "more than 64 deep"},
		{name: "GET", method: http.MethodGet, body: http.NoBody, status: 405, code: 405, result: injector.Denied, reason: reasonBadRequest, says: "POST an AdmissionReview"},
		{name: "no content type", contentType: "-", body: text(reviewOf(annotatedPod, nil)), status: 415, code: 415, result: injector.Denied, reason: reasonBadRequest, says: "not application/json"},
		{name: "a content type that is YAML", contentType: "application/yaml", body: text(reviewOf(annotatedPod, nil)), status: 415, code: 415, result: injector.Denied, reason: reasonBadRequest, says: "not application/json"},
		{name: "a content type that is garbage", contentType: ";;;", body: text(reviewOf(annotatedPod, nil)), status: 415, code: 415, result: injector.Denied, reason: reasonBadRequest, says: "not application/json"},
		{name: "a decider that panics", decider: panicking{}, body: text(reviewOf(annotatedPod, nil)), status: 200, code: 500, uid: true, result: injector.Denied, reason: reasonInternalError, says: "webhook's log"},

		{name: "a charset in the content type", contentType: "application/json; charset=utf-8", body: text(reviewOf(annotatedPod, nil)), status: 200, uid: true, allowed: true, result: injector.Injected, reason: injector.ReasonInjected},
		{name: "a content type in capitals", contentType: "Application/JSON", body: text(reviewOf(annotatedPod, nil)), status: 200, uid: true, allowed: true, result: injector.Injected, reason: injector.ReasonInjected},
		{name: "chunks without a length", body: chunked{text(reviewOf(annotatedPod, nil))}, status: 200, uid: true, allowed: true, result: injector.Injected, reason: injector.ReasonInjected},
		{name: "fields that we do not know", body: text(reviewOf(annotatedPod, map[string]any{"future": map[string]any{"a": []int{1}}})), status: 200, uid: true, allowed: true, result: injector.Injected, reason: injector.ReasonInjected},
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestHostileRequestsGetAProperAnswer(t *testing.T) {
	good := newInjector(t)
	for _, row := range hostileRequests() {
		t.Run(row.name, func(t *testing.T) {
			if row.decider == nil {
				row.decider = good
			}
			h, log := newTestHandler(row.decider)
			server := httptest.NewServer(h)
			defer server.Close()
			method, contentType := http.MethodPost, "application/json"
			if row.method != "" {
				method = row.method
			}
			if row.contentType != "" {
				contentType = strings.TrimPrefix(row.contentType, "-")
			}
			res, body := send(t, server.Client(), method, server.URL, contentType, row.body)
			if res.StatusCode != row.status {
				t.Errorf("HTTP status %d, want %d", res.StatusCode, row.status)
			}
			if got := res.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("content type %q", got)
			}
			a := strict(t, body)
			if row.uid != (a.UID == reviewUID) || !row.uid && a.UID != "" {
				t.Errorf("uid %q", a.UID)
			}
			if a.Allowed != row.allowed {
				t.Errorf("allowed is %t: %s", a.Allowed, body)
			}
			if !row.allowed && (a.Result.Code != row.code || !strings.Contains(a.Result.Message, row.says)) {
				t.Errorf("code %d, %q; want %d, %q", a.Result.Code, a.Result.Message, row.code, row.says)
			}
			if got := a.AuditAnnotations; got["result"] != string(row.result) || got["reason"] != string(row.reason) {
				t.Errorf("audit annotations %v", got)
			}
			h.metricsAndLog(t, log, row.result, row.reason)
		})
	}
}

// metricsAndLog checks that one review was counted and logged, without the pod.
func (h *handler) metricsAndLog(t *testing.T, log *lines, result injector.Result, reason injector.Reason) {
	t.Helper()
	// The line is written after the answer.
	eventually(t, "a line in the log", func() bool { return len(log.with(t, "admission")) > 0 })
	line := log.with(t, "admission")
	if len(line) != 1 || line[0]["result"] != string(result) || line[0]["reason"] != string(reason) {
		t.Errorf("the log holds %v", line)
	}
	if strings.Contains(log.String(), canary) {
		t.Errorf("the log holds the pod's secret:\n%s", log)
	}
	labels := []string{"result=" + string(result), "reason=" + string(reason)}
	if got := metric(t, h.metrics, "gatepass_webhook_admissions_total", labels...); got != 1 {
		t.Errorf("%v counted %g times", labels, got)
	}
	if got := metric(t, h.metrics, "gatepass_webhook_admission_duration_seconds"); got != 1 {
		t.Errorf("%g durations observed", got)
	}
}

func TestMethodNotAllowedNamesTheMethodThatIs(t *testing.T) {
	h, _ := newTestHandler(newInjector(t))
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, Path, http.NoBody))
	if got := recorder.Header().Get("Allow"); got != http.MethodPost {
		t.Errorf("Allow: %q", got)
	}
}

func TestDecisionsBecomeAnswers(t *testing.T) {
	for _, row := range []struct {
		name     string
		pod      string
		result   injector.Result
		reason   injector.Reason
		allowed  bool
		patched  bool
		message  string
		warnings string
		profile  string
	}{
		{name: "an annotated pod is patched", pod: annotatedPod, result: injector.Injected, reason: injector.ReasonInjected, allowed: true, patched: true, profile: "default"},
		{name: "a pod that did not ask is let through", pod: podWith(`"gatepass.dev/inject":"true"`, ""), result: injector.Skipped, reason: injector.ReasonNotRequested, allowed: true},
		{name: "a misspelt key is refused with the fix", pod: podWith("dev/inject", "dev/injct"), result: injector.Denied, reason: injector.ReasonUnknownKey, message: "did you mean gatepass.dev/inject?"},
		{name: "an unknown profile is refused", pod: podWith(`"true"`, `"true","gatepass.dev/profile":"prod"`), result: injector.Denied, reason: injector.ReasonUnknownProfile, message: `"prod"`},
		{name: "an odd pod comes with a warning", pod: podWith(`"true"`, `"true","gatepass.dev/status":"done"`), result: injector.Injected, reason: injector.ReasonInjected, allowed: true, patched: true,
			warnings: `gatepass: annotation gatepass.dev/status="done"`, profile: "default"},
	} {
		t.Run(row.name, func(t *testing.T) {
			h, log := newTestHandler(newInjector(t))
			recorder := httptest.NewRecorder()
			request := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(reviewOf(row.pod, nil)))
			request.Header.Set("Content-Type", "application/json")
			h.ServeHTTP(recorder, request)
			a := strict(t, recorder.Body.Bytes())
			if recorder.Code != http.StatusOK || a.UID != reviewUID || a.Allowed != row.allowed || (a.Patch != nil) != row.patched {
				t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
			}
			if !row.allowed && (a.Result.Code != http.StatusForbidden || a.Result.Reason != "Forbidden" || !strings.Contains(a.Result.Message, row.message)) {
				t.Errorf("refused with %+v", a.Result)
			}
			if got := strings.Join(a.Warnings, "\n"); !strings.HasPrefix(got, row.warnings) || row.warnings == "" && got != "" {
				t.Errorf("warnings %q", got)
			}
			if a.AuditAnnotations["profile"] != row.profile {
				t.Errorf("audit annotations %v", a.AuditAnnotations)
			}
			h.metricsAndLog(t, log, row.result, row.reason)
			line := log.with(t, "admission")[0]
			if line["uid"] != reviewUID || line["namespace"] != "team-a" || line["pod"] != "mypod1" {
				t.Errorf("the log line is %v", line)
			}
		})
	}
}

func TestWithoutAConfigurationPodsThatAskAreRefused(t *testing.T) {
	h, _ := newTestHandler(nil)
	h.decider = func() decider { return nil }
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(reviewOf(annotatedPod, nil)))
	request.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(recorder, request)
	a := strict(t, recorder.Body.Bytes())
	if a.Allowed || a.Result.Code != http.StatusServiceUnavailable || a.Result.Reason != "ServiceUnavailable" {
		t.Errorf("got %s", recorder.Body)
	}
}

func TestLogLinesAreBounded(t *testing.T) {
	h, log := newTestHandler(newInjector(t))
	huge := strings.Repeat("é", 100_000)
	pod := strings.NewReplacer("mypod1", huge, `"true"`, `"`+huge+`"`).Replace(annotatedPod)
	request := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(reviewOf(pod, map[string]any{"namespace": huge})))
	request.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(httptest.NewRecorder(), request)
	if got := len(log.String()); got > 5*maxLogged || len(log.with(t, "admission")) != 1 {
		t.Errorf("the log line has %d bytes", got)
	}
}

func TestDryRunsAreMarkedInTheLog(t *testing.T) {
	h, log := newTestHandler(newInjector(t))
	request := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(reviewOf(annotatedPod, map[string]any{"dryRun": true})))
	request.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(httptest.NewRecorder(), request)
	if line := log.with(t, "admission"); len(line) != 1 || fmt.Sprint(line[0]["dry_run"]) != "true" {
		t.Errorf("the log holds %v", line)
	}
}

func TestASlowBodyIsCut(t *testing.T) {
	body := reviewOf(annotatedPod, nil)
	h, _ := newTestHandler(newInjector(t))
	h.timeout = 50 * time.Millisecond
	server := httptest.NewServer(h)
	defer server.Close()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:100])
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	checkCut(t, res)
	if _, err := reader.ReadByte(); err != io.EOF {
		t.Errorf("the connection goes on: %v", err)
	}
}

func checkCut(t *testing.T, res *http.Response) {
	t.Helper()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := strict(t, answer)
	if res.StatusCode != http.StatusRequestTimeout || a.Result.Reason != "Timeout" || !strings.Contains(a.Result.Message, "within 50ms") {
		t.Errorf("status %d: %s", res.StatusCode, answer)
	}
}
