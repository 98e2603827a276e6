package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/vault"
)

// newVault serves Vault's protocol over the same logins, sessions and catalog.
func (g *Gateway) newVault(version string) (*vault.Handler, error) {
	h, err := vault.New(vault.Options{
		Login:   g.vaultLogin,
		Session: g.vaultSession,
		As:      g.catalog.As,
		Turn:    g.vaultTurn,
		Bodies:  g.bodies,
		Client:  addressText,
		Ready:   func() error { return g.ready() },
		Version: semantic(version),
		Logger:  g.log,
	})
	if err != nil {
		return nil, fmt.Errorf("serve Vault's protocol: %w", err)
	}
	return h, nil
}

// vaultTurn waits for the same turns as the V2 API's large requests.
func (g *Gateway) vaultTurn(ctx context.Context, of vault.Turns) (giveBack func(), err error) {
	turns := g.lists
	switch of {
	case vault.Reads:
		return g.reads.leave, g.turn(ctx, g.reads, limitReads)
	case vault.Changes:
		return g.changes.leave, g.turn(ctx, g.changes, limitChanges)
	case vault.Bodies:
		turns = g.bulky
	case vault.Lists:
	}
	if err := turns.acquire(ctx); err != nil {
		return nil, err
	}
	return turns.release, nil
}

// semantic writes a version as Vault's clients compare it. What is none, as of a build
// from no release, comes before all.
func semantic(version string) string {
	bare := strings.TrimPrefix(version, "v")
	if !semanticVersion.MatchString(bare) {
		return "0.0.0"
	}
	return bare
}

// semanticVersion is how one begins (semver.org).
var semanticVersion = regexp.MustCompile(`^\d+\.\d+\.\d+`)

// vaultLogin is a login by Vault's protocol.
func (g *Gateway) vaultLogin(r *http.Request, by vault.Credentials) vault.Outcome {
	c := &call{Request: r, state: g.state()}
	a := g.logIn(c, func(a *attempt) { g.authenticateRole(c, a, by) })
	o := vault.Outcome{Result: a.event.Result, Reason: a.event.Reason, Token: a.token, Claims: a.claims, Method: a.method}
	if a.refused != nil {
		o.Status, o.Public, o.RetryAfter = a.refused.status, a.refused.public, a.refused.retryAfter
	}
	return o
}

// authenticateRole is authenticateK8s for a caller who names the auth method
// rather than its access id. It goes in Vault's order, which decides what a caller
// is told who did more than one thing wrong.
func (g *Gateway) authenticateRole(c *call, a *attempt, by vault.Credentials) {
	a.event.AuthConfig = by.Mount
	if by.Malformed != nil {
		a.deny(http.StatusBadRequest, reasonBadRequest, by.Malformed.Error(), by.Malformed.Error())
		return
	}
	if c.state == nil {
		a.end(audit.Failed, vault.ReasonSealed, "", notConfigured())
		return
	}
	authConfig, method := g.pair(c, by.Mount, func(s State) (*authmethod.Method, bool) { return s.AuthMethodNamed(by.Role) })
	switch {
	case authConfig == nil:
		a.deny(http.StatusUnauthorized, reasonAuthConfig, "", "k8s auth name ["+shorten(by.Mount)+"] not found")
		return
	case by.Role == "":
		a.deny(http.StatusBadRequest, vault.ReasonRoleMissing, "", "role is missing")
		return
	case by.Token == "":
		a.deny(http.StatusBadRequest, vault.ReasonTokenMissing, "", "jwt is missing")
		return
	case method == nil:
		a.deny(http.StatusBadRequest, vault.ReasonRoleNotFound, "role "+by.Role, "role ["+shorten(by.Role)+"] not found")
		return
	}
	a.event.AccessID, a.event.AuthMethod = method.AccessID, method.Name
	if token := g.token(a, by.Token); token != "" {
		g.enter(c, a, authConfig, method, token, true)
	}
}

// vaultSession verifies the session of a request by Vault's protocol, and
// records who has none.
func (g *Gateway) vaultSession(r *http.Request, token string) (*vault.Session, error) {
	c := &call{Request: r, state: g.state()}
	if c.state == nil {
		return nil, vault.ErrSealed
	}
	claims, until, err := g.verify(c, token)
	if err != nil {
		if refused := g.stranger(c, eventVault, token, err); refused.status == http.StatusServiceUnavailable {
			return nil, catalog.ErrUnrecorded
		}
		return nil, err
	}
	if refused := g.overMethodRate(r, eventVault, claims); refused != nil {
		return nil, &vault.TooMany{Text: refused.public, RetryAfter: refused.retryAfter}
	}
	method, ok := c.state.AuthMethod(claims.AccessID)
	if !ok {
		return nil, errors.New("the session's auth method is gone")
	}
	return &vault.Session{Claims: claims, Ends: until, Method: method}, nil
}
