package vault

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/catalog"
)

// The texts that clients of Vault look for.
const (
	textDenied       = "permission denied"
	textInvalidToken = "invalid token"
	textSealed       = "Vault is sealed"
)

// answer is what a request gets.
type answer struct {
	// status is 200 if it is zero.
	status int
	// body is written as JSON; nil is no body.
	body any
}

// envelope is the form of nearly all answers with a body.
type envelope struct {
	RequestID     string    `json:"request_id"`
	LeaseID       string    `json:"lease_id"`
	Renewable     bool      `json:"renewable"`
	LeaseDuration int64     `json:"lease_duration"`
	Data          any       `json:"data"`
	WrapInfo      *struct{} `json:"wrap_info"`
	Warnings      *[]string `json:"warnings"`
	Auth          *auth     `json:"auth"`
}

// data is an answer about something.
func data(of any) *answer { return &answer{body: &envelope{RequestID: requestID(), Data: of}} }

// done is the answer to a change that has nothing to tell.
func done() *answer { return &answer{status: http.StatusNoContent} }

// requestID is a random UUID (RFC 9562, section 5.4).
func requestID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails: it ends the program instead
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// write sends the answer. After an error nothing was sent.
func (a *answer) write(w http.ResponseWriter) error {
	var body []byte
	header := w.Header()
	if a.body != nil {
		var err error
		if body, err = json.Marshal(a.body); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		header.Set("Content-Type", "application/json")
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(cmp.Or(a.status, http.StatusOK))
	_, _ = w.Write(body) // the caller is gone: nobody is left to tell
	return nil
}

// refusal is an answer that says no.
type refusal struct {
	status int
	// texts are empty for something that does not exist, as Vault has it.
	texts []string
	// retryAfter is sent with 429 and 503.
	retryAfter time.Duration
}

// Error joins the texts.
func (r *refusal) Error() string { return strings.Join(r.texts, "; ") }

func refuse(status int, texts ...string) *refusal { return &refusal{status: status, texts: texts} }

// unsupported is Vault's answer to an operation that a path does not have.
func unsupported() *refusal { return refuse(http.StatusMethodNotAllowed, "unsupported operation") }

// retryAfter is how long to wait for a store or an audit log to come back.
const retryAfter = 5 * time.Second

// refusalOf says how an error is told. It returns nil for those that are a
// defect of the gateway.
func refusalOf(err error) *refusal {
	var refused *refusal
	var tooMany *TooMany
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &tooMany):
		return &refusal{http.StatusTooManyRequests, []string{tooMany.Text}, tooMany.RetryAfter}
	case errors.Is(err, ErrSealed):
		return &refusal{http.StatusServiceUnavailable, []string{textSealed}, retryAfter}
	case errors.Is(err, catalog.ErrDenied):
		return refuse(http.StatusForbidden, textDenied)
	case errors.Is(err, catalog.ErrNotFound):
		return refuse(http.StatusNotFound)
	case errors.Is(err, catalog.ErrInvalid):
		return refuse(http.StatusBadRequest, err.Error())
	case errors.Is(err, catalog.ErrExists), errors.Is(err, catalog.ErrReadOnly), errors.Is(err, catalog.ErrInUse):
		return refuse(http.StatusConflict, err.Error())
	case errors.Is(err, catalog.ErrUnavailable), errors.Is(err, catalog.ErrUnopened), errors.Is(err, catalog.ErrUnrecorded):
		return &refusal{http.StatusServiceUnavailable, []string{err.Error()}, retryAfter}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &refusal{http.StatusServiceUnavailable, []string{"the request was not done in time"}, retryAfter}
	}
	return nil
}

// refuse answers with an error.
func (h *Handler) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	refused := refusalOf(err)
	if refused == nil {
		h.options.Logger.ErrorContext(ctx, "a request of Vault's protocol failed unexpectedly", "error", err)
		refused = refuse(http.StatusInternalServerError, "internal error")
	}
	refused.write(w)
}

// Refuse says no in this protocol's form before a Handler gets to see the request.
func Refuse(w http.ResponseWriter, status int, retryAfter time.Duration, texts ...string) {
	(&refusal{status, texts, retryAfter}).write(w)
}

func (r *refusal) write(w http.ResponseWriter) {
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((r.retryAfter+time.Second-1)/time.Second), 10))
	}
	texts := make([]string, len(r.texts))
	for i, text := range r.texts {
		texts[i] = strings.ToValidUTF8(text, "�") // it may quote what the caller sent
	}
	err := (&answer{status: r.status, body: struct {
		Errors []string `json:"errors"`
	}{texts}}).write(w)
	if err != nil { // a list of texts can always be written
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// quote bounds a text of the caller's that is repeated to the caller.
func quote(text string) string {
	const enough = 128
	if len(text) > enough {
		text = text[:enough] + "…"
	}
	return strconv.Quote(text)
}
