// Package vault serves Vault's protocol over the gateway's own objects, so that
// clients of Vault's Kubernetes auth method and of its second key-value engine
// work against the gateway unchanged.
//
// A Vault auth mount is a Kubernetes auth config, a Vault role is an auth method
// that may be logged in to through it, a Vault policy is one of the gateway's
// roles, and a Vault token is a session. docs/vault.md tells the mapping in full.
package vault

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/internal/bodies"
)

// Prefix is the path that everything is under.
const Prefix = "/v1/"

// HealthPath is the probe's.
const HealthPath = Prefix + "sys/health"

// DefaultMount is where the items are, as a key-value engine of version 2.
const DefaultMount = "secret"

// ErrSealed means that the gateway has nothing yet to answer from.
var ErrSealed = errors.New("the gateway has no valid configuration yet")

// TooMany means that a session's auth method has more requests than it may.
type TooMany struct {
	// Text is for the caller.
	Text       string
	RetryAfter time.Duration
}

// Error implements error.
func (e *TooMany) Error() string { return e.Text }

const listPage = 1000

// Options configure a Handler.
type Options struct {
	// Login lets in whom the credentials belong to, and records it.
	Login func(*http.Request, Credentials) Outcome
	// Session verifies the session token of a request, which may be empty, in
	// memory, and records who has none. The error is ErrSealed, *TooMany,
	// catalog.ErrUnrecorded, or says why the token is not valid.
	Session func(r *http.Request, token string) (*Session, error)
	// As does what a caller asks.
	As func(catalog.Caller) catalog.Accessor
	// Turn waits until it is the turn of a request. What it returns is called when that
	// was answered. An error means that there are too many.
	Turn func(context.Context, Turns) (giveBack func(), err error)
	// Bodies is memory for request bodies.
	Bodies *bodies.Budget
	// Client is the address of a request's connection, for the audit log.
	Client func(*http.Request) string
	// Ready says why the gateway should not get requests; nil if it should.
	Ready func() error
	// Mount is DefaultMount if it is empty.
	Mount string
	// Version is the gateway's, which clients show and compare.
	Version string
	Logger  *slog.Logger
}

// Turns are of what requests wait for.
type Turns int

// The turns: of requests with bodies of more than UsualBody bytes, of lists, and of
// whatever else reads or changes something.
const (
	Bodies Turns = iota
	Lists
	Reads
	Changes
)

// UsualBody is how large a body may be that waits for no turn.
const UsualBody = maxBody

// Credentials are those of a login.
type Credentials struct {
	// Mount names a Kubernetes auth config, Role an auth method.
	Mount, Role string
	// Token is the service account's.
	Token string
	// Malformed, if not nil, is why the request can't be read: there is nothing in
	// it but the mount.
	Malformed error
}

// Session is a session that is valid.
type Session struct {
	Claims *session.Claims
	// Ends is when it ends unless it is renewed.
	Ends time.Time
	// Method is whose session it is.
	Method *authmethod.Method
}

// Handler is Vault's API as an http.Handler.
type Handler struct {
	options Options
	// listPage is how many items are looked at a time: a folder may hold all there
	// are.
	listPage int
}

// New makes a handler.
func New(o Options) (*Handler, error) {
	if o.Login == nil || o.Session == nil || o.As == nil || o.Turn == nil || o.Bodies == nil || o.Client == nil || o.Ready == nil || o.Logger == nil {
		return nil, errors.New("vault: Login, Session, As, Turn, Bodies, Client, Ready and Logger must be set")
	}
	if o.Mount == "" {
		o.Mount = DefaultMount
	}
	return &Handler{options: o, listPage: listPage}, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, writer: w, bodies: h.options.Bodies}
	defer func() {
		if c.body != nil {
			c.body.Free()
		}
		for _, giveBack := range c.turns {
			giveBack()
		}
	}()
	given, err := h.answer(c) //nolint:contextcheck // a call has the context of its request
	if err == nil {
		err = given.write(w)
	}
	if err != nil {
		h.refuse(r.Context(), w, err)
	}
}

// answer checks what holds for every request before it does what is asked.
func (h *Handler) answer(c *call) (*answer, error) {
	if err := checkHeader(c.Header); err != nil {
		return nil, err
	}
	found, ok := h.find(c, strings.TrimPrefix(c.URL.Path, Prefix))
	if !ok {
		return nil, refuse(http.StatusNotFound, "no handler for route "+quote(c.URL.Path)+"; this gateway does not have it")
	}
	do, err := found.operation(c)
	if err != nil {
		return nil, err
	}
	if found.public {
		return do(c)
	}
	if err := h.authenticate(c); err != nil {
		return nil, err
	}
	switch c.Method {
	case http.MethodPost, http.MethodPut:
		c.begin = func(size int) error {
			if size > UsualBody {
				if err := h.take(c, Bodies); err != nil {
					return err
				}
			}
			return h.take(c, Changes)
		}
	case http.MethodDelete:
		err = h.take(c, Changes)
	default:
		err = h.take(c, Reads)
	}
	if err != nil {
		return nil, err
	}
	return do(c)
}

// checkHeader refuses what would change an answer's meaning if it were ignored.
func checkHeader(header http.Header) error {
	// OpenBao's and Vault Enterprise's root namespace; there are no others.
	if namespace := strings.Trim(header.Get("X-Vault-Namespace"), "/"); namespace != "" && namespace != "root" {
		return refuse(http.StatusNotFound, "namespace not found")
	}
	// Zero asks for no wrapping, in whatever unit.
	ttl := header.Get("X-Vault-Wrap-TTL")
	if d, err := time.ParseDuration(ttl); ttl != "" && (err != nil || d != 0) {
		return refuse(http.StatusBadRequest, "response wrapping is not supported by this gateway; leave X-Vault-Wrap-TTL out")
	}
	return nil
}
