package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/review"
	"github.com/gatepass/gatepass/gateway/session"
)

const (
	// maxToken bounds a service-account token, before anything else is done with
	// it. Projected tokens have one to two kilobytes; all of their names at
	// Kubernetes' maximum of 253 bytes and a signature by a 4096-bit key make
	// four. The rest is for many audiences.
	maxToken = 16 << 10

	// loginTimeout bounds a login, waiting included. The agent's own request
	// timeout is longer, so that it reads the reason instead of hanging up.
	loginTimeout = 14 * time.Second

	accessTypeK8s = "k8s"
)

// authRequest has the fields of /auth that matter to access type k8s.
type authRequest struct {
	AccessID   string `json:"access-id"`
	AccessType string `json:"access-type"`
	AuthConfig string `json:"k8s-auth-config-name"`
	Token      string `json:"k8s-service-account-token"`
}

// authAnswer is /auth's. Clients of different ages read different fields.
type authAnswer struct {
	Token      string    `json:"token"`
	Expiration string    `json:"expiration"`
	Creds      authCreds `json:"creds"`
}

type authCreds struct {
	Token  string `json:"token"`
	Expiry int64  `json:"expiry"`
}

// Reasons of refusals that no other package names.
const (
	reasonGranted       = "ok"
	reasonBadRequest    = "bad-request"
	reasonAccessType    = "access-type-not-supported"
	reasonAuthConfig    = "auth-config-not-found"
	reasonAccessID      = "access-id-mismatch"
	reasonTokenMissing  = "token-missing"
	reasonTokenTooLarge = "token-too-large"
	reasonOverloaded    = "overloaded"
	reasonNotConfigured = "not-configured"
	reasonTimeout       = "timeout"
	reasonCallerGone    = "caller-gone"
	reasonInternal      = "internal-error"
	reasonAudit         = "audit-log-failed"
)

// attempt is one login under way, and the audit event that it becomes.
type attempt struct {
	event   audit.Event
	answer  *authAnswer
	refused *refusal
}

// end settles how an attempt ends other than in a session.
func (a *attempt) end(result audit.Result, reason, detail string, refused *refusal) {
	a.event.Result, a.event.Reason, a.event.Detail = result, reason, detail
	a.refused = refused
}

// deny is end for what lies with the caller. The detail is for the audit log.
func (a *attempt) deny(status int, reason, detail, public string) {
	a.end(audit.Denied, reason, detail, &refusal{status: status, public: public})
}

func (a *attempt) denyBy(d *authmethod.Denial) {
	a.deny(http.StatusUnauthorized, string(d.Reason), d.Detail, d.Public)
}

// login is /auth.
func (g *Gateway) login(c *call) (any, *refusal) {
	began := time.Now()
	g.metrics.inFlight.Inc()
	defer g.metrics.inFlight.Dec()

	a := &attempt{event: audit.Event{Time: began.UTC(), Event: "login"}}
	if client := clientAddress(c.Request); client.IsValid() {
		a.event.Client = client.String()
	}
	g.try(c, a)
	if err := g.audit.Write(&a.event); err != nil {
		g.log.ErrorContext(c.Context(), "the audit log can't be written; logins are refused", "error", err)
		a.answer = nil
		a.end(audit.Failed, reasonAudit, "", &refusal{http.StatusServiceUnavailable, "the gateway can't record logins at the moment", 10 * time.Second})
	}
	g.metrics.logins.WithLabelValues(string(a.event.Result), a.event.Reason).Inc()
	g.metrics.loginSeconds.Observe(time.Since(began).Seconds())
	if a.refused != nil {
		return nil, a.refused
	}
	return a.answer, nil
}

// try makes an attempt that ends in the audit log even if it panics.
func (g *Gateway) try(c *call, a *attempt) {
	defer func() {
		if v := recover(); v != nil {
			g.panicked(c.Request, v)
			a.answer = nil
			a.end(audit.Failed, reasonInternal, "panic; see the gateway's log", refuse(http.StatusInternalServerError, "internal error"))
		}
	}()
	g.attempt(c, a)
}

// attempt goes as far as the rules let it.
func (g *Gateway) attempt(c *call, a *attempt) {
	var req authRequest
	if refused := c.decode(maxLoginBody, &req); refused != nil {
		a.end(audit.Denied, reasonBadRequest, refused.public, refused)
		return
	}
	if c.state == nil {
		a.end(audit.Failed, reasonNotConfigured, "", notConfigured())
		return
	}
	a.event.AccessID, a.event.AuthConfig = req.AccessID, req.AuthConfig
	if req.AccessType != accessTypeK8s {
		a.deny(http.StatusBadRequest, reasonAccessType, "access type "+req.AccessType,
			"access type ["+shorten(req.AccessType)+"] is not supported by this gateway; use "+accessTypeK8s)
		return
	}
	token := g.token(a, req.Token)
	if token == "" {
		return
	}
	authConfig, method := g.find(c, a, &req)
	if method == nil {
		return
	}
	if denial := method.Admits(clientAddress(c.Request), time.Now()); denial != nil {
		a.denyBy(denial)
		return
	}
	identity := g.identify(c, a, authConfig, method, token)
	if identity == nil {
		return
	}
	a.event.Subject, a.event.PodName, a.event.PodUID = identity.Subject(), identity.PodName, identity.PodUID
	if denial := method.Allows(identity); denial != nil {
		a.denyBy(denial)
		return
	}
	g.grant(c, a, authConfig, method, identity)
}

// find looks up the auth config and its method. Whether an access id exists
// is not told: an unknown one and one of another config get the same answer.
// The token's form is looked at before, so that nobody without one learns which
// access id belongs to a config.
func (g *Gateway) find(c *call, a *attempt, req *authRequest) (*AuthConfig, *authmethod.Method) {
	authConfig, ok := c.state.AuthConfig(req.AuthConfig)
	if !ok {
		a.deny(http.StatusUnauthorized, reasonAuthConfig, "",
			"k8s auth name ["+shorten(req.AuthConfig)+"] not found")
		return nil, nil
	}
	method, ok := c.state.AuthMethod(authConfig.AccessID)
	if !ok || authConfig.AccessID != req.AccessID {
		a.deny(http.StatusUnauthorized, reasonAccessID, "the auth config belongs to access id "+authConfig.AccessID,
			"unauthorized: access id ["+shorten(req.AccessID)+"] does not belong to k8s auth name ["+shorten(req.AuthConfig)+"]")
		return nil, nil
	}
	a.event.AuthMethod = method.Name
	return authConfig, method
}

// token reads the service-account token: as it is, or in base64, which has no
// dots.
func (g *Gateway) token(a *attempt, sent string) string {
	token := strings.TrimSpace(sent)
	if token == "" {
		a.deny(http.StatusBadRequest, reasonTokenMissing, "", "k8s-service-account-token is missing")
		return ""
	}
	if len(token) <= base64.StdEncoding.EncodedLen(maxToken) && !strings.Contains(token, ".") {
		decoded, err := base64.StdEncoding.DecodeString(token)
		if err != nil {
			a.deny(http.StatusUnauthorized, string(review.ReasonNotJWT), "neither a JWT nor base64",
				"failed to validate token: neither a JWT nor base64 of one")
			return ""
		}
		token = strings.TrimSpace(string(decoded))
	}
	if len(token) > maxToken {
		a.deny(http.StatusUnauthorized, reasonTokenTooLarge, "", "failed to validate token: too large to be a service account's token")
		return ""
	}
	if !review.IsJWT(token) {
		a.deny(http.StatusUnauthorized, string(review.ReasonNotJWT), "", "failed to validate token: not a JWT")
		return ""
	}
	return token
}

// identify asks the API server, when it is this login's turn.
func (g *Gateway) identify(c *call, a *attempt, authConfig *AuthConfig, method *authmethod.Method, token string) *authmethod.Identity {
	ctx, cancel := context.WithTimeout(c.Context(), loginTimeout)
	defer cancel()
	user, err := g.review(ctx, authConfig, method, token)
	if err != nil {
		g.notReviewed(c, a, err)
		return nil
	}
	identity, denial := authmethod.IdentityOf(user)
	if denial != nil {
		a.event.Subject = user.Username
		a.denyBy(denial)
		return nil
	}
	return identity
}

// review waits for a turn, asks the API server, and gives the turn back
// whatever happens.
func (g *Gateway) review(ctx context.Context, authConfig *AuthConfig, method *authmethod.Method, token string) (*authmethod.User, error) {
	if err := g.limits.acquire(ctx, authConfig.Name); err != nil {
		return nil, err
	}
	defer g.limits.release(authConfig.Name)
	return authConfig.Reviewer.Review(ctx, token, method.Audience)
}

// notReviewed tells a token that is refused from an API server that does not
// answer: the first is the caller's to mend and final, the second is not.
func (g *Gateway) notReviewed(c *call, a *attempt, err error) {
	var rejection *review.Rejection
	var failure *review.Failure
	switch {
	case errors.Is(err, errOverloaded):
		a.end(audit.Failed, reasonOverloaded, "", &refusal{http.StatusTooManyRequests, "too many logins at a time; try again", 2 * time.Second})
	case errors.As(err, &rejection):
		a.deny(http.StatusUnauthorized, string(rejection.Reason), rejection.Detail, "failed to validate token: "+rejection.Public())
	case errors.As(err, &failure):
		g.log.WarnContext(c.Context(), "a token could not be reviewed",
			"auth_config", a.event.AuthConfig, "reason", string(failure.Reason), "error", failure.Detail)
		public, wait := publicFailure(failure)
		a.end(audit.Failed, string(failure.Reason), failure.Detail, &refusal{http.StatusServiceUnavailable, public, wait})
	case c.Context().Err() != nil:
		a.end(audit.Failed, reasonCallerGone, "", refuse(http.StatusServiceUnavailable, "the request was given up"))
	case errors.Is(err, context.DeadlineExceeded):
		a.end(audit.Failed, reasonTimeout, "", &refusal{http.StatusServiceUnavailable, "failed to validate token: the Kubernetes API server did not answer in time", 2 * time.Second})
	default:
		g.log.ErrorContext(c.Context(), "a token review failed unexpectedly", "error", err)
		a.end(audit.Failed, reasonInternal, err.Error(), refuse(http.StatusInternalServerError, "internal error"))
	}
}

// publicFailure says what callers may know of an API server's failure: whom
// to tell, and when to try again.
func publicFailure(f *review.Failure) (string, time.Duration) {
	const prefix = "failed to validate token: "
	switch f.Reason {
	case review.ReasonReviewerForbidden, review.ReasonReviewerUnauthorized:
		return prefix + "the gateway is not allowed to review tokens; its administrator finds the reason in its log", 10 * time.Second
	case review.ReasonUnreachable:
		return prefix + "the gateway can't reach the Kubernetes API server, or gets no answer from it", 2 * time.Second
	default:
		return prefix + "the Kubernetes API server can't review it at the moment", max(f.RetryAfter, 2*time.Second)
	}
}

func (g *Gateway) grant(c *call, a *attempt, authConfig *AuthConfig, method *authmethod.Method, id *authmethod.Identity) {
	now := time.Now()
	life := method.SessionLife(now)
	if life < time.Second { // it has expired since it was looked at, or does within the second
		a.deny(http.StatusUnauthorized, string(authmethod.ReasonAccessExpired), "", "unauthorized: the auth method's access expired")
		return
	}
	token, claims, err := c.state.Sessions().Sign(session.Grant{
		AccessID:  method.AccessID,
		Subject:   id.Subject(),
		SubClaims: id.SubClaims(authConfig.Name),
		TTL:       life,
		Now:       now,
	})
	if err != nil {
		g.log.ErrorContext(c.Context(), "a session could not be signed", "error", err)
		a.end(audit.Failed, reasonInternal, err.Error(), refuse(http.StatusInternalServerError, "internal error"))
		return
	}
	a.event.Result, a.event.Reason = audit.Granted, reasonGranted
	a.event.Session, a.event.Expires = claims.ID, claims.ExpiresAt()
	a.answer = &authAnswer{
		Token:      token,
		Expiration: claims.ExpiresAt().Format(time.RFC3339),
		Creds:      authCreds{Token: token, Expiry: claims.Expiry},
	}
}
