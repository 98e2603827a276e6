package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/review"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// authenticateK8s is a login by a service-account token.
func (g *Gateway) authenticateK8s(c *call, a *attempt, req *v2.Auth) {
	token := g.token(a, req.ServiceAccountToken)
	if token == "" {
		return
	}
	authConfig, method := g.find(c, a, req)
	if method == nil {
		return
	}
	g.enter(c, a, authConfig, method, token, false)
}

// enter holds a token against an auth method's rules.
func (g *Gateway) enter(c *call, a *attempt, authConfig *AuthConfig, method *authmethod.Method, token string, renewable bool) {
	if denial := method.Admits(clientAddress(c.Request), time.Now()); denial != nil {
		a.denyBy(denial)
		return
	}
	// Only logins that succeed take of the method's rate: whoever has no identity of
	// its could use it up otherwise. Those who come when there is none are not
	// reviewed first.
	if g.limit(a, g.methodLogins.look(method.AccessID, time.Now())) {
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
	g.grant(c, a, method, identified{
		subject:   identity.Subject(),
		subClaims: identity.SubClaims(authConfig.Name),
		renewable: renewable,
	})
}

// vouchesFor reports whether identities of a method may come through the config.
func (c *AuthConfig) vouchesFor(m *authmethod.Method) bool {
	return c.AccessID == m.AccessID || slices.Contains(m.AuthConfigs, c.ID)
}

// pair finds an auth config and a method that it vouches for, or nil for what it
// does not find.
func (g *Gateway) pair(c *call, configName string, methodIn func(State) (*authmethod.Method, bool)) (authConfig *AuthConfig, method *authmethod.Method) {
	g.known(c, func(s State) bool {
		var ok bool
		if authConfig, ok = s.AuthConfig(configName); !ok {
			authConfig = nil
			return false
		}
		if method, ok = methodIn(s); !ok || !authConfig.vouchesFor(method) {
			method = nil
			return false
		}
		return true
	})
	return authConfig, method
}

// find looks up the auth config and its method. Whether an access id exists
// is not told: an unknown one and one of another config get the same answer.
// The token's form is looked at before, so that nobody without one learns which
// access id belongs to a config.
func (g *Gateway) find(c *call, a *attempt, req *v2.Auth) (*AuthConfig, *authmethod.Method) {
	authConfig, method := g.pair(c, req.AuthConfig, func(s State) (*authmethod.Method, bool) { return s.AuthMethod(req.AccessID) })
	if authConfig == nil {
		a.deny(http.StatusUnauthorized, reasonAuthConfig, "",
			"k8s auth name ["+shorten(req.AuthConfig)+"] not found")
		return nil, nil
	}
	if method == nil {
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
		a.deny(http.StatusUnauthorized, string(review.ReasonNotJWT), "it is not three parts in base64url", "failed to validate token: not a JWT")
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
	case review.ReasonUnusable:
		return prefix + "the gateway can't use the auth config; its administrator finds the reason in its log", 10 * time.Second
	case review.ReasonUnreachable:
		return prefix + "the gateway can't reach the Kubernetes API server, or gets no answer from it", 2 * time.Second
	default:
		return prefix + "the Kubernetes API server can't review it at the moment", max(f.RetryAfter, 2*time.Second)
	}
}
