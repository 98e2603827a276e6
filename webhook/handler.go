package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/internal/bodies"
	"github.com/gatepass/gatepass/internal/connlimit"
)

// Reasons of refusals that happen before a pod is looked at.
const (
	reasonBadRequest    injector.Reason = "bad-request"
	reasonTooLarge      injector.Reason = "request-too-large"
	reasonNotAPod       injector.Reason = "not-a-pod"
	reasonNotCreation   injector.Reason = "not-a-creation"
	reasonNoConfig      injector.Reason = "no-config"
	reasonInternalError injector.Reason = "internal-error"
	reasonBusy          injector.Reason = "busy"
)

const (
	// defaultTimeout bounds the reading of a body, and then the writing of an
	// answer. An API server waits for 30 s at most (timeoutSeconds), and for
	// ours for 5.
	defaultTimeout = 10 * time.Second
	// maxLogged bounds each text of a log line. Webhooks see pods before they
	// are validated, so a name or an annotation may have megabytes.
	maxLogged = 1 << 10
	// retryAfter makes an API server come again after a second, within its own
	// timeout: its client repeats a call that was answered with a 5xx and this
	// header (checkWait in client-go's rest/with_retry.go).
	retryAfter = "1"
)

// decider decides about a pod; *injector.Injector is one.
type decider interface {
	Decide(pod []byte) injector.Decision
}

// handler answers AdmissionReviews.
type handler struct {
	// decider returns nil while there is no valid configuration.
	decider func() decider
	// leaving is set while the server drains.
	leaving *atomic.Bool
	metrics *metrics
	log     *slog.Logger
	timeout time.Duration
	intake  *intake
}

func newHandler(d func() decider, leaving *atomic.Bool, m *metrics, log *slog.Logger) *handler {
	return &handler{decider: d, leaving: leaving, metrics: m, log: log, timeout: defaultTimeout, intake: newIntake()}
}

// ServeHTTP always answers with an AdmissionReview. What an API server would
// never send gets an HTTP error status as well.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	out := h.intake.buffer()
	defer func() { h.intake.put(out) }()

	request, a := h.answer(w, r)
	var uid string
	if request != nil {
		uid = request.UID
	}
	out.Write(appendResponse(out.AvailableBuffer(), uid, &a))
	h.write(w, a.status, out.Bytes())
	took := time.Since(start)
	h.metrics.observe(&a, took)
	h.record(r.Context(), request, &a, took)
}

// answer never panics: a pod that upsets us is refused, because it asked for a
// session (the API server sends no other), and the webhook goes on. The
// request is nil if there is none.
func (h *handler) answer(w http.ResponseWriter, r *http.Request) (request *reviewRequest, a answer) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("panic while deciding about a pod; please report it", "panic", clip(fmt.Sprint(p)), "stack", string(debug.Stack()))
			a = refuse(http.StatusInternalServerError, reasonInternalError, "Gatepass failed on this pod; the administrator finds the cause in the webhook's log")
		}
	}()
	if refusal := h.expected(w, r); refusal != nil {
		return nil, *refusal
	}
	body, err := h.intake.read(w, r)
	defer body.Free()
	if err != nil {
		return nil, h.unread(w, err)
	}
	values, err := reviewBounds.Check(body.Bytes())
	if err != nil {
		uid := uidOf(body.Bytes())
		if uid == "" {
			return nil, reject(http.StatusBadRequest, reasonBadRequest, "the body is not a JSON AdmissionReview that is read here: %v", err)
		}
		return &reviewRequest{UID: uid}, refuse(http.StatusRequestEntityTooLarge, reasonTooLarge, "the pod is larger than Gatepass takes: %v; make it smaller", err)
	}
	giveBack, err := h.intake.turn(r.Context(), len(body.Bytes()), values)
	if err != nil {
		return nil, h.unread(w, err)
	}
	defer giveBack()
	if request, err = decodeReview(body.Bytes()); err != nil {
		return request, reject(http.StatusBadRequest, reasonBadRequest, "%v", err)
	}
	connlimit.Prove(r.Context())
	return request, h.decide(request)
}

// expected returns the refusal of a request that no API server would send, nil if one
// would.
func (h *handler) expected(w http.ResponseWriter, r *http.Request) *answer {
	refusal := func(code int, reason injector.Reason, format string, args ...any) *answer {
		a := reject(code, reason, format, args...)
		return &a
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return refusal(http.StatusMethodNotAllowed, reasonBadRequest, "method %s is not allowed; POST an AdmissionReview", clip(r.Method))
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return refusal(http.StatusUnsupportedMediaType, reasonBadRequest, "content type %q is not application/json", clip(r.Header.Get("Content-Type")))
	}
	// Not every connection has deadlines to set (a test's recorder has none).
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return refusal(http.StatusInternalServerError, reasonInternalError, "the connection takes no deadline")
	}
	return nil
}

// unread is the answer to a body that could not be read.
func (h *handler) unread(w http.ResponseWriter, err error) answer {
	switch {
	case errors.Is(err, bodies.ErrBusy):
		w.Header().Set("Retry-After", retryAfter)
		return reject(http.StatusServiceUnavailable, reasonBusy, "the webhook is busy with other requests; try again")
	case errors.Is(err, bodies.ErrTooLarge):
		// What is left of the body is not worth reading.
		w.Header().Set("Connection", "close")
		return reject(http.StatusRequestEntityTooLarge, reasonTooLarge, "the body is larger than %d bytes", maxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reject(http.StatusRequestTimeout, reasonBadRequest, "the body did not arrive within %s", h.timeout)
	}
	return reject(http.StatusBadRequest, reasonBadRequest, "the body could not be read: %v", err)
}

func (h *handler) decide(request *reviewRequest) answer {
	switch {
	case request.Operation != "CREATE" || request.SubResource != "":
		// A pod's containers can't be changed later on, and refusing would keep
		// others from changing what can, or from binding and evicting pods.
		return answer{status: http.StatusOK, Decision: injector.Decision{
			Result: injector.Skipped, Reason: reasonNotCreation,
			Warnings: []string{"Gatepass acts on the creation of pods only; narrow the rules of the webhook configuration to CREATE of pods"},
		}}
	case !request.Kind.isPod():
		return refuse(http.StatusBadRequest, reasonNotAPod, "the object is a %s, but Gatepass injects into pods only; narrow the rules of the webhook configuration to pods", clip(request.Kind.String()))
	case len(request.Object) == 0 || request.Object.Kind() == 'n':
		return refuse(http.StatusBadRequest, reasonBadRequest, "the AdmissionReview's request has no object")
	}
	d := h.decider()
	if d == nil {
		return refuse(http.StatusServiceUnavailable, reasonNoConfig, "Gatepass has no valid configuration yet, so this pod can't get a session; the administrator finds the cause in the webhook's log")
	}
	return answer{Decision: d.Decide(request.Object), code: http.StatusForbidden, status: http.StatusOK}
}

func (h *handler) write(w http.ResponseWriter, status int, body []byte) {
	// An error here means that the caller is gone, and its next call comes anew.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.timeout))
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if h.leaving.Load() {
		// The API server goes on elsewhere by itself, and no review is on its
		// way on a connection while that is closed.
		header.Set("Connection", "close")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Log keys.
const (
	keyUID       = "uid"
	keyNamespace = "namespace"
	keyPod       = "pod"
	keyResult    = "result"
	keyReason    = "reason"
	keyProfile   = "profile"
	keyMode      = "mode"
	keyMessage   = "message"
	keyWarnings  = "warnings"
	keyDryRun    = "dry_run"
	keyDuration  = "duration_us"
)

// record writes one line for each decision. It never holds the pod.
func (h *handler) record(ctx context.Context, r *reviewRequest, a *answer, took time.Duration) {
	level := slog.LevelInfo
	if a.Result == injector.Denied {
		level = slog.LevelWarn
	}
	if !h.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	if r != nil {
		attrs = append(attrs, slog.String(keyUID, clip(r.UID)), slog.String(keyNamespace, clip(r.Namespace)))
		if r.DryRun {
			attrs = append(attrs, slog.Bool(keyDryRun, true))
		}
	}
	attrs = append(attrs, slog.String(keyPod, clip(a.Pod)), slog.String(keyResult, string(a.Result)), slog.String(keyReason, string(a.Reason)))
	if a.Profile != "" {
		attrs = append(attrs, slog.String(keyProfile, a.Profile), slog.String(keyMode, a.Mode))
	}
	if len(a.Problems) > 0 {
		attrs = append(attrs, slog.String(keyMessage, clip(a.Message())))
	}
	if len(a.Warnings) > 0 {
		attrs = append(attrs, slog.String(keyWarnings, clip(strings.Join(a.Warnings, "; "))))
	}
	attrs = append(attrs, slog.Int64(keyDuration, took.Microseconds()))
	h.log.LogAttrs(ctx, level, "admission", attrs...)
}

// clip bounds a text that others have written.
func clip(s string) string {
	if len(s) <= maxLogged {
		return s
	}
	return strings.ToValidUTF8(s[:maxLogged], "") + "…"
}
