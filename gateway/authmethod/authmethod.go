// Package authmethod decides who may log in: it holds the bound rules of an
// auth method and matches a reviewed identity against them.
//
// It is pure: no network, no clock, no storage.
package authmethod

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Method is an auth method: rules, and what a session under it is like.
type Method struct {
	Name     string
	AccessID string
	// Expires is when the method stops letting anybody in; zero is never.
	Expires time.Time
	// SessionTTL is the life of a session.
	SessionTTL time.Duration
	// SessionMaxTTL, if longer than SessionTTL, is how long a session can be kept by
	// renewing it.
	SessionMaxTTL time.Duration
	// AuthConfigs are ids of Kubernetes auth configs that may vouch for
	// identities, besides those that belong to the method.
	AuthConfigs []string
	// BoundIPs are the client addresses that may log in; empty is all.
	BoundIPs []netip.Prefix
	// Audience must be among the token's audiences. Empty means that the API
	// server's own audience does.
	Audience string
	// Namespaces, PodNames and ServiceAccounts hold patterns, see Match. Empty
	// restricts nothing.
	Namespaces      []string
	PodNames        []string
	ServiceAccounts []string
}

// Reason is a stable code of a refusal, for metrics and the audit log.
type Reason string

// The reasons of this package.
const (
	ReasonAccessExpired     Reason = "access-expired"
	ReasonClientAddress     Reason = "client-address-not-bound"
	ReasonNotServiceAccount Reason = "not-a-service-account"
	ReasonAudience          Reason = "audience-mismatch"
	ReasonNamespace         Reason = "namespace-not-bound"
	ReasonServiceAccount    Reason = "service-account-not-bound"
	ReasonPodName           Reason = "pod-name-not-bound"
	ReasonNotPodBound       Reason = "token-not-pod-bound"
)

// Denial is a refusal by a rule.
type Denial struct {
	Reason Reason
	// Public is what the caller may read. It names the rule that failed but
	// not what would have passed it.
	Public string
	// Detail is for the audit log: what was seen and what was wanted.
	Detail string
}

// Error returns the text for the caller.
func (d *Denial) Error() string { return d.Public }

func deny(reason Reason, public, format string, args ...any) *Denial {
	return &Denial{Reason: reason, Public: public, Detail: fmt.Sprintf(format, args...)}
}

// Admits checks what is known before the token is looked at. A nil result
// lets the login go on.
func (m *Method) Admits(client netip.Addr, now time.Time) *Denial {
	if !m.Expires.IsZero() && !now.Before(m.Expires) {
		return deny(ReasonAccessExpired, "unauthorized: the auth method's access expired",
			"access expired at %s", m.Expires.UTC().Format(time.RFC3339))
	}
	client = client.Unmap()
	inside := func(p netip.Prefix) bool { return p.Contains(client) }
	if len(m.BoundIPs) > 0 && !slices.ContainsFunc(m.BoundIPs, inside) {
		return deny(ReasonClientAddress, "unauthorized: bound ips mismatch",
			"client address %s is in none of %s", client, m.BoundIPs)
	}
	return nil
}

// Allows checks a reviewed identity against the bound rules. A nil result
// lets the identity in.
func (m *Method) Allows(id *Identity) *Denial {
	if m.Audience != "" && !slices.Contains(id.Audiences, m.Audience) {
		return deny(ReasonAudience, "unauthorized: audience mismatch: the token is meant for another audience",
			"token audiences %q don't include %q", id.Audiences, m.Audience)
	}
	if !matchAny(m.Namespaces, id.Namespace) {
		return deny(ReasonNamespace, "unauthorized: bound namespaces mismatch",
			"namespace %q matches none of %q", id.Namespace, m.Namespaces)
	}
	if !matchAny(m.ServiceAccounts, id.ServiceAccount) {
		return deny(ReasonServiceAccount, "unauthorized: bound service accounts mismatch",
			"service account %q matches none of %q", id.ServiceAccount, m.ServiceAccounts)
	}
	if len(m.PodNames) == 0 {
		return nil
	}
	if id.PodName == "" {
		return deny(ReasonNotPodBound, "unauthorized: bound pod names mismatch: the token is not bound to a pod; use a projected token",
			"the token names no pod, and pod names are bound to %q", m.PodNames)
	}
	if !matchAny(m.PodNames, id.PodName) {
		return deny(ReasonPodName, "unauthorized: bound pod names mismatch",
			"pod %q matches none of %q", id.PodName, m.PodNames)
	}
	return nil
}

// SessionLife is how long a session that begins now may last: SessionTTL, but
// not beyond the method's own expiry. It is not positive after that.
func (m *Method) SessionLife(now time.Time) time.Duration { return m.untilExpiry(m.SessionTTL, now) }

// RenewableLife is how long a session that begins now may last if it is
// renewed. It is never shorter than SessionLife.
func (m *Method) RenewableLife(now time.Time) time.Duration {
	return m.untilExpiry(max(m.SessionTTL, m.SessionMaxTTL), now)
}

func (m *Method) untilExpiry(life time.Duration, now time.Time) time.Duration {
	if m.Expires.IsZero() {
		return life
	}
	return min(life, m.Expires.Sub(now))
}

func matchAny(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	return slices.ContainsFunc(patterns, func(p string) bool { return Match(p, name) })
}

// Match says whether a name matches a pattern in which * stands for any text,
// also none, and ? for one character. Its time is at most proportional to the
// product of the lengths.
func Match(pattern, name string) bool {
	p, n := 0, 0
	// star is where the last * was, and resume what it did not swallow yet.
	star, resume := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			resume++
			p, n = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
