package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatepass/gatepass/injector"
)

const (
	reviewAPIVersion = "admission.k8s.io/v1"
	reviewKind       = "AdmissionReview"
)

// review is an AdmissionReview as far as it matters here. The object stays as
// the API server wrote it.
type review struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Request    *reviewRequest `json:"request"`
}

type reviewRequest struct {
	UID         string         `json:"uid"`
	Kind        objectKind     `json:"kind"`
	SubResource string         `json:"subResource"`
	Namespace   string         `json:"namespace"`
	Operation   string         `json:"operation"`
	DryRun      bool           `json:"dryRun"`
	Object      jsontext.Value `json:"object"`
}

type objectKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

func (k objectKind) String() string {
	if k.Group == "" {
		return k.Version + " " + k.Kind
	}
	return k.Group + "/" + k.Version + " " + k.Kind
}

// isPod reports whether it is the core v1 Pod.
func (k objectKind) isPod() bool { return k == objectKind{Version: "v1", Kind: "Pod"} }

// decodeReview reads a request. Its errors are for whoever calls the webhook
// and is not an API server, or for an administrator whose webhook
// configuration does not fit. The request is returned beside an error, too, if
// there is one: an answer has to name its uid.
func decodeReview(body []byte) (*reviewRequest, error) {
	r := new(review)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("the body is not a JSON AdmissionReview: %w", err)
	}
	switch {
	case r.Kind != reviewKind:
		return r.Request, fmt.Errorf("the body's kind is %q, not %s", clip(r.Kind), reviewKind)
	case r.APIVersion != reviewAPIVersion:
		return r.Request, fmt.Errorf("apiVersion %q is not spoken here; set admissionReviewVersions: [v1] in the webhook configuration", clip(r.APIVersion))
	case r.Request == nil:
		return nil, errors.New("the AdmissionReview has no request")
	case r.Request.UID == "":
		return r.Request, errors.New("the AdmissionReview's request has no uid")
	}
	return r.Request, nil
}

// answer is what becomes of a request: the injector's decision, or a refusal
// of a request that never got there.
type answer struct {
	injector.Decision
	// code is the HTTP status code of a refusal in the response's status.
	code int
	// status is that of the HTTP response itself.
	status int
}

// refuse denies an object that an API server sent.
func refuse(code int, reason injector.Reason, format string, args ...any) answer {
	return answer{code: code, status: http.StatusOK, Decision: injector.Decision{
		Result: injector.Denied, Reason: reason,
		Problems: []injector.Problem{{Reason: reason, Text: fmt.Sprintf(format, args...)}},
	}}
}

// reject denies what no API server sends, which is an HTTP error as well.
func reject(code int, reason injector.Reason, format string, args ...any) answer {
	a := refuse(code, reason, format, args...)
	a.status = code
	return a
}

// appendResponse writes the AdmissionReview that answers the request uid.
func appendResponse(b []byte, uid string, a *answer) []byte {
	b = append(b, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":`...)
	b = appendText(b, uid)
	if a.Allowed() {
		b = append(b, `,"allowed":true`...)
	} else {
		b = append(b, `,"allowed":false,"status":{"metadata":{},"status":"Failure","message":`...)
		b = appendText(b, a.Message())
		b = append(b, `,"reason":`...)
		b = appendText(b, statusReason(a.code))
		b = append(b, `,"code":`...)
		b = strconv.AppendInt(b, int64(a.code), 10)
		b = append(b, '}')
	}
	if a.Patch != nil {
		b = append(b, `,"patchType":"JSONPatch","patch":"`...)
		b = base64.StdEncoding.AppendEncode(b, a.Patch)
		b = append(b, '"')
	}
	b = append(b, `,"auditAnnotations":{"result":`...)
	b = appendText(b, string(a.Result))
	b = append(b, `,"reason":`...)
	b = appendText(b, string(a.Reason))
	if a.Profile != "" {
		b = append(b, `,"profile":`...)
		b = appendText(b, a.Profile)
		b = append(b, `,"mode":`...)
		b = appendText(b, a.Mode)
	}
	b = append(b, '}')
	for i, w := range a.Warnings {
		if i == 0 {
			b = append(b, `,"warnings":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendText(b, "gatepass: "+w)
	}
	if len(a.Warnings) > 0 {
		b = append(b, ']')
	}
	return append(b, "}}"...)
}

// appendText writes a JSON string; bytes that are not UTF-8 can't come out of
// the decoders here, and would be replaced.
func appendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// statusReason is the metav1.StatusReason that belongs to a code.
func statusReason(code int) string {
	switch code {
	case http.StatusForbidden:
		return "Forbidden"
	case http.StatusMethodNotAllowed:
		return "MethodNotAllowed"
	case http.StatusRequestTimeout:
		return "Timeout"
	case http.StatusRequestEntityTooLarge:
		return "RequestEntityTooLarge"
	case http.StatusUnsupportedMediaType:
		return "UnsupportedMediaType"
	case http.StatusInternalServerError:
		return "InternalError"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailable"
	default:
		return "BadRequest"
	}
}
