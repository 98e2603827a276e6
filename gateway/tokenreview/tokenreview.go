// Package tokenreview answers TokenReviews about sessions, so that a Kubernetes
// API server can let those who have one in: it is a webhook token authenticator
// (kube-apiserver --authentication-token-webhook-config-file).
package tokenreview

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/internal/jsonbound"
)

// Path is where the gateway has the authenticator, below any of its bases.
const Path = "k8s/token-review"

// Prefix begins every user name and group that the authenticator gives, and the
// access id follows. Without them a session of a pod would have all rights of the
// pod's service account, in whichever cluster asks, and whoever may make one auth
// method could be anybody. Administrators bind roles to the whole names.
const Prefix = "gatepass:"

// Keys of the extra attributes begin with this domain, as Kubernetes' own do.
const extraDomain = "gatepass.dev/"

// The versions of a TokenReview, which are alike. An API server asks with the older
// one unless --authentication-token-webhook-version says otherwise.
const (
	apiVersion = "authentication.k8s.io/v1"
	apiBeta    = "authentication.k8s.io/v1beta1"
	kind       = "TokenReview"
	// maxBody has room for a session of the largest size and what is around it.
	maxBody = 2 * session.MaxLength
)

// ErrNotReady is what Options.Session fails with as long as no session can be verified.
var ErrNotReady = errors.New("the gateway has no valid configuration yet")

// Options configure a Handler.
type Options struct {
	// Session verifies the session of a request: its signature, its life, and that
	// nobody revoked it. Its errors' texts are for callers.
	Session func(r *http.Request, token string) (*session.Claims, error)
	// Denied records that a token is no session, and why. If that can't be done, the
	// answer is 503 with the error's text.
	Denied func(r *http.Request, token string, why error) error
	Logger *slog.Logger
}

// Handler answers TokenReviews.
type Handler struct {
	session func(*http.Request, string) (*session.Claims, error)
	denied  func(*http.Request, string, error) error
	log     *slog.Logger
}

// New makes a handler.
func New(o Options) (*Handler, error) {
	if o.Session == nil || o.Denied == nil || o.Logger == nil {
		return nil, errors.New("tokenreview: Session, Denied and Logger must be set")
	}
	return &Handler{session: o.Session, denied: o.Denied, log: o.Logger}, nil
}

// review has the parts of a TokenReview that an authenticator reads and writes
// (k8s.io/api/authentication/v1). It is written down here because the types of
// that module know no bound, and the answer must not repeat the token.
type review struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Token     string   `json:"token,omitempty"`
		Audiences []string `json:"audiences,omitempty"`
	} `json:"spec,omitzero"`
	Status status `json:"status"`
}

type status struct {
	Authenticated bool     `json:"authenticated"`
	User          *user    `json:"user,omitempty"`
	Audiences     []string `json:"audiences,omitempty"`
	Error         string   `json:"error,omitempty"`
}

type user struct {
	Username string              `json:"username"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

// ServeHTTP implements http.Handler. A session that is not valid is an answer,
// with status 200, as the API server expects.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "use POST")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body can't be read, or has more than %d bytes", maxBody))
		return
	}
	if _, err := jsonbound.OfBody(maxBody).Check(body); err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "the body is larger than the gateway takes: "+err.Error())
		return
	}
	var asked review
	if err := json.Unmarshal(body, &asked); err != nil || asked.APIVersion != apiVersion && asked.APIVersion != apiBeta || asked.Kind != kind {
		refuse(w, http.StatusBadRequest, "the body is not a "+kind+" of "+apiVersion)
		return
	}
	answer := review{APIVersion: asked.APIVersion, Kind: kind}
	if answer.Status, err = h.verdict(r, &asked); err != nil {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	text, err := json.Marshal(answer, json.Deterministic(true))
	if err != nil {
		h.log.ErrorContext(r.Context(), "a token review could not be written", "error", err)
		refuse(w, http.StatusInternalServerError, "internal error")
		return
	}
	write(w, http.StatusOK, text)
}

// verdict fails if there can be none.
func (h *Handler) verdict(r *http.Request, asked *review) (status, error) {
	claims, err := h.session(r, asked.Spec.Token)
	switch {
	case err == nil:
		return who(claims, asked.Spec.Audiences), nil
	case errors.Is(err, ErrNotReady):
		return status{}, err
	}
	return status{Error: err.Error()}, h.denied(r, asked.Spec.Token, err)
}

// who tells whose session it is.
func who(claims *session.Claims, audiences []string) status {
	s := status{Authenticated: true, User: &user{
		Username: Prefix + claims.AccessID + ":" + claims.Subject,
		UID:      first(claims.SubClaims["service_account_uid"]),
		Groups:   []string{Prefix + "sessions", Prefix + "access-id:" + claims.AccessID},
		Extra:    map[string][]string{extraDomain + "session-id": {audit.SessionHash(claims.ID)}, extraDomain + "access-id": {claims.AccessID}},
	}}
	for _, name := range []string{"namespace", "service_account_name", "pod_name", "pod_uid", "config_name"} {
		if values := claims.SubClaims[name]; len(values) > 0 {
			s.User.Extra[extraDomain+dashes(name)] = values
		}
	}
	if namespace := first(claims.SubClaims["namespace"]); namespace != "" {
		s.User.Groups = append(s.User.Groups, Prefix+claims.AccessID+":namespace:"+namespace)
	}
	// A session is for its auth method. Who asks for that audience is told so; an
	// empty answer means the API server's own audience (TokenReviewStatus).
	if slices.Contains(audiences, claims.AccessID) {
		s.Audiences = []string{claims.AccessID}
	}
	return s
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// dashes writes a claim's name as keys of extra attributes are written.
func dashes(name string) string { return strings.ReplaceAll(name, "_", "-") }

func refuse(w http.ResponseWriter, status int, text string) {
	body, err := json.Marshal(map[string]string{"error": text})
	if err != nil {
		body = []byte(`{"error":"internal error"}`)
	}
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller is gone: nobody is left to tell
}
