package gateway

import (
	"net/http"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/session"
	v2 "github.com/gatepass/gatepass/gateway/v2"
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
)

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
	reasonKeyMissing    = "access-key-missing"
	reasonKey           = "access-key-mismatch"
	reasonGuesses       = "too-many-failures"
	reasonRate          = "rate-limited"
)

// eventLogin is what the audit log calls a login, and eventVault a request by
// Vault's protocol of somebody who has no session.
const (
	eventLogin = "login"
	eventVault = "vault"
)

// attempt is one login under way, and the audit event that it becomes.
type attempt struct {
	event audit.Event
	// refused is set unless the login was granted.
	refused *refusal
	// unrecorded refusals are those of which the audit log has enough.
	unrecorded bool
	// token, claims and method are the session's.
	token  string
	claims *session.Claims
	method *authmethod.Method
}

// end settles how an attempt ends other than in a session.
func (a *attempt) end(result audit.Result, reason, detail string, refused *refusal) {
	a.event.Result, a.event.Reason, a.event.Detail = result, reason, detail
	a.refused = refused
	a.token, a.claims = "", nil
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
	a := g.logIn(c, func(a *attempt) {
		var req v2.Auth
		if refused := g.decode(c, maxLoginBody, &req); refused != nil {
			a.end(audit.Denied, reasonBadRequest, refused.public, refused)
			return
		}
		g.authenticate(c, a, &req)
	})
	if a.refused != nil {
		return nil, a.refused
	}
	return v2.AuthAnswer{
		Token:      a.token,
		Expiration: a.claims.ExpiresAt().Format(time.RFC3339),
		Creds:      v2.AuthCreds{Token: a.token, Expiry: a.claims.Expiry},
	}, nil
}

// authenticate goes as far as the rules let it.
func (g *Gateway) authenticate(c *call, a *attempt, req *v2.Auth) {
	if c.state == nil {
		a.end(audit.Failed, reasonNotConfigured, "", notConfigured())
		return
	}
	a.event.AccessID, a.event.AuthConfig = req.AccessID, req.AuthConfig
	switch req.AccessType {
	case v2.AccessTypeK8s:
		g.authenticateK8s(c, a, req)
	case "", v2.AccessTypeKey, v2.AccessTypeAPIKey:
		g.authenticateKey(c, a, req)
	default:
		a.deny(http.StatusBadRequest, reasonAccessType, "access type "+req.AccessType,
			"access type ["+shorten(req.AccessType)+"] is not supported by this gateway; use "+v2.AccessTypeK8s+" or "+v2.AccessTypeKey)
	}
}

// logIn makes an attempt, measures and records it. One that can't be recorded is
// refused.
func (g *Gateway) logIn(c *call, try func(*attempt)) *attempt {
	began := time.Now()
	g.metrics.inFlight.Inc()
	defer g.metrics.inFlight.Dec()

	a := &attempt{event: audit.Event{Time: began.UTC(), Event: eventLogin, Client: addressText(c.Request)}}
	g.tryTo(c, a, try)
	if err := g.record(a); err != nil {
		g.log.ErrorContext(c.Context(), "the audit log can't be written; logins are refused", "error", err)
		a.end(audit.Failed, reasonAudit, "", &refusal{http.StatusServiceUnavailable, "the gateway can't record logins at the moment", 10 * time.Second})
	}
	g.metrics.logins.WithLabelValues(string(a.event.Result), a.event.Reason).Inc()
	g.metrics.loginSeconds.Observe(time.Since(began).Seconds())
	return a
}

func (g *Gateway) record(a *attempt) error {
	if a.unrecorded {
		return nil
	}
	return g.audit.Write(&a.event)
}

// tryTo makes an attempt that ends in the audit log even if it panics.
func (g *Gateway) tryTo(c *call, a *attempt, try func(*attempt)) {
	defer func() {
		if v := recover(); v != nil {
			g.panicked(c.Request, v)
			a.end(audit.Failed, reasonInternal, "panic; see the gateway's log", refuse(http.StatusInternalServerError, "internal error"))
		}
	}()
	try(a)
}

// identified is who logs in, and the session that it gets.
type identified struct {
	subject   string
	subClaims map[string][]string
	// renewable sessions end before their time unless they are renewed.
	renewable bool
}

// grant makes the session. It may be the last check that fails.
func (g *Gateway) grant(c *call, a *attempt, method *authmethod.Method, who identified) {
	now := time.Now()
	life, lease := method.SessionLife(now), time.Duration(0)
	if who.renewable {
		life, lease = method.RenewableLife(now), life
	}
	if life < time.Second { // it has expired since it was looked at, or does within the second
		a.deny(http.StatusUnauthorized, string(authmethod.ReasonAccessExpired), "", "unauthorized: the auth method's access expired")
		return
	}
	if g.limit(a, g.methodLogins.take(method.AccessID, now)) {
		return
	}
	token, claims, err := c.state.Sessions().Sign(session.Grant{
		AccessID:  method.AccessID,
		Subject:   who.subject,
		SubClaims: who.subClaims,
		TTL:       life,
		Lease:     lease,
		Now:       now,

		Generation: c.state.Generation(method.AccessID, who.subject),
	})
	if err != nil {
		g.log.ErrorContext(c.Context(), "a session could not be signed", "error", err)
		a.end(audit.Failed, reasonInternal, err.Error(), refuse(http.StatusInternalServerError, "internal error"))
		return
	}
	a.event.Result, a.event.Reason = audit.Granted, reasonGranted
	a.event.Session, a.event.Expires = claims.ID, claims.ExpiresAt()
	a.token, a.claims, a.method = token, claims, method
}
