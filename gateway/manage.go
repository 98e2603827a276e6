package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/tokenreview"
	v2 "github.com/gatepass/gatepass/gateway/v2"
	"github.com/gatepass/gatepass/gateway/v2/command"
)

// Catalog keeps what sessions read and administrators change.
type Catalog interface {
	// As does what a caller asks.
	As(catalog.Caller) catalog.Accessor
	// CatchUp waits until State has what other gateways committed before the call.
	CatchUp(context.Context) error
}

// commandTimeout bounds a command, from the body's end to the answer.
const commandTimeout = 10 * time.Second

// Reasons of refused sessions, in the audit log.
const (
	reasonSessionMissing = "session-missing"
	reasonSessionInvalid = "session-invalid"
)

// managed makes a command of one that works on the catalog.
func (g *Gateway) managed(named command.Command) func(*call) (any, *refusal) {
	return func(c *call) (any, *refusal) {
		request := named.Request()
		if c.ContentLength != 0 { // the public SDKs' /revoke-creds has no body
			if refused := g.decode(c, named.MaxBody, request); refused != nil {
				return nil, refused
			}
		}
		by, refused := g.session(c, named.Names[0], c.token(request))
		if refused != nil {
			return nil, refused
		}
		if c.large() {
			if refused := c.take(c.Context(), g.bulky); refused != nil {
				return nil, refused
			}
		}
		if named.Whole {
			if refused := c.take(c.Context(), g.lists); refused != nil {
				return nil, refused
			}
		}
		turn, limit := g.changes, limitChanges
		if named.Reads {
			turn, limit = g.reads, limitReads
		}
		if err := g.turn(c.Context(), turn, limit); err != nil {
			return nil, &refusal{http.StatusTooManyRequests, "too many requests at a time; try again", 2 * time.Second}
		}
		defer turn.leave()
		ctx, cancel := context.WithTimeout(c.Context(), commandTimeout)
		defer cancel()
		answer, err := named.Run(ctx, by, request)
		if err != nil {
			return nil, g.refusalOf(c, err)
		}
		return answer, nil
	}
}

// turn waits for a command's turn. After nil, leave must be called.
func (g *Gateway) turn(ctx context.Context, of *gate, limit string) error {
	err := of.enter(ctx)
	if errors.Is(err, errOverloaded) {
		g.metrics.limited.WithLabelValues(limit).Inc()
	}
	return err
}

// token is the session token of a request: in its body, or in the header that
// clients can set who can't change the body.
func (c *call) token(request v2.Request) string {
	if token := request.SessionToken(); token != "" {
		return token
	}
	scheme, token, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// session finds out who asks. What the catalog is asked it records itself; who
// does not get that far is recorded here.
func (g *Gateway) session(c *call, name, token string) (*command.Session, *refusal) {
	claims, refused := g.claims(c, name, token)
	if refused != nil {
		return nil, refused
	}
	caller := catalog.CallerOf(claims, addressText(c.Request), "v2")
	return &command.Session{Accessor: g.catalog.As(caller), Expires: claims.ExpiresAt()}, nil
}

// claims are those of the session that makes a request.
func (g *Gateway) claims(c *call, name, token string) (*session.Claims, *refusal) {
	if c.state == nil {
		return nil, notConfigured()
	}
	claims, _, err := g.verify(c, token)
	if err != nil {
		return nil, g.stranger(c, name, token, err)
	}
	if refused := g.overMethodRate(c.Request, name, claims); refused != nil {
		return nil, refused
	}
	return claims, nil
}

// verify returns the claims of a session that is valid now, and until when it
// is. The error is a text for the caller. c.state is there.
func (g *Gateway) verify(c *call, token string) (*session.Claims, time.Time, error) {
	var claims *session.Claims
	var err error
	client := clientAddress(c.Request)
	g.known(c, func(s State) bool {
		claims, err = s.Authenticate(token, client)
		return !errors.Is(err, session.ErrUnknownKey) && !errors.Is(err, session.ErrOtherGeneration)
	})
	if err != nil {
		return nil, time.Time{}, err //nolint:wrapcheck // the text is the caller's
	}
	return claims, c.state.LeaseEnd(claims), nil
}

// reviewedSession verifies the session of a request of an API server.
func (g *Gateway) reviewedSession(r *http.Request, token string) (*session.Claims, error) {
	c := &call{Request: r, state: g.state()}
	if c.state == nil {
		return nil, tokenreview.ErrNotReady
	}
	claims, _, err := g.verify(c, token)
	return claims, err
}

// stranger refuses and records who has no session.
func (g *Gateway) stranger(c *call, name, token string, why error) *refusal {
	event := audit.Event{Time: time.Now().UTC(), Event: name, Result: audit.Denied, Reason: reasonSessionInvalid, Detail: why.Error()}
	public := "unauthorized: " + why.Error()
	if token == "" {
		event.Reason, event.Detail = reasonSessionMissing, ""
		public = "unauthorized: token is missing; log in with /auth"
	}
	var elsewhere *catalog.ClientAddressError
	if errors.As(why, &elsewhere) {
		event.Reason = string(authmethod.ReasonClientAddress)
		event.AccessID, event.Subject, event.Session = elsewhere.Claims.AccessID, elsewhere.Claims.Subject, elsewhere.Claims.ID
	}
	event.Client = addressText(c.Request)
	if err := g.audit.Write(&event); err != nil {
		g.log.ErrorContext(c.Context(), "the audit log can't be written", "error", err)
		return g.refusalOf(c, catalog.ErrUnrecorded)
	}
	return &refusal{status: http.StatusUnauthorized, public: public}
}

// refusalOf maps the errors of the catalog to answers: the only place where that
// is done.
func (g *Gateway) refusalOf(c *call, err error) *refusal {
	const again = 5 * time.Second
	switch {
	case errors.Is(err, catalog.ErrUnrecorded): // whatever else came of it
		return &refusal{http.StatusServiceUnavailable, catalog.ErrUnrecorded.Error(), again}
	case errors.Is(err, catalog.ErrInvalid):
		return &refusal{status: http.StatusBadRequest, public: err.Error()}
	case errors.Is(err, catalog.ErrDenied):
		return &refusal{status: http.StatusUnauthorized, public: err.Error()}
	case errors.Is(err, catalog.ErrNotFound):
		return &refusal{status: http.StatusNotFound, public: err.Error()}
	case errors.Is(err, catalog.ErrExists), errors.Is(err, catalog.ErrReadOnly), errors.Is(err, catalog.ErrInUse):
		return &refusal{status: http.StatusConflict, public: err.Error()}
	case errors.Is(err, catalog.ErrUnavailable):
		return &refusal{http.StatusServiceUnavailable, catalog.ErrUnavailable.Error(), again}
	case errors.Is(err, catalog.ErrUnopened):
		return &refusal{http.StatusServiceUnavailable, catalog.ErrUnopened.Error(), again}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &refusal{http.StatusServiceUnavailable, "the request could not be carried out in time; it may have been", again}
	}
	g.log.ErrorContext(c.Context(), "a command failed unexpectedly", "error", err)
	return refuse(http.StatusInternalServerError, "internal error")
}
