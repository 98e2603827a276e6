// Package gateway serves the V2 API: it exchanges a Kubernetes service-account
// token for a session, validates sessions, and publishes the keys that others
// verify them with.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/tokenreview"
	"github.com/gatepass/gatepass/gateway/vault"
	"github.com/gatepass/gatepass/internal/bodies"
)

// State is one consistent view of what requests are answered from. It does
// not change while a request uses it.
type State interface {
	// AuthConfig finds a Kubernetes auth config by name.
	AuthConfig(name string) (*AuthConfig, bool)
	// AuthMethod finds an auth method by access id.
	AuthMethod(accessID string) (*authmethod.Method, bool)
	// AuthMethodNamed finds an auth method by name.
	AuthMethodNamed(name string) (*authmethod.Method, bool)
	// Sessions signs, and publishes the keys.
	Sessions() *session.Keyring
	// Authenticate returns the claims of a session that is valid now for a client of
	// this address: signed by the gateway, not ended, not revoked, and within the
	// addresses that its auth method is bound to. It asks nobody. The error is one of
	// package session's or a *catalog.ClientAddressError; their texts are for callers.
	Authenticate(token string, client netip.Addr) (*session.Claims, error)
	// LeaseEnd is when a session that is valid ends unless it is renewed.
	LeaseEnd(*session.Claims) time.Time
	// VerifyAccessKey says whether an access key is the one of an access id, whose
	// AuthMethod says what else it takes to log in. It takes the same time
	// whichever is wrong.
	VerifyAccessKey(accessID, accessKey string) bool
	// Generation is what a new session of a subject carries (session.Grant), so that
	// it is told from those that were revoked before.
	Generation(accessID, subject string) string
}

// AuthConfig is a Kubernetes auth config: which API server judges the tokens
// of which auth method.
type AuthConfig struct {
	// ID is what auth methods refer to.
	ID       string
	Name     string
	AccessID string
	Reviewer Reviewer
}

// Reviewer says whom a service-account token belongs to. Its errors are
// *review.Rejection, *review.Failure, or the context's.
type Reviewer interface {
	Review(ctx context.Context, token, audience string) (*authmethod.User, error)
}

// Auditor records logins. A login that can't be recorded does not happen.
type Auditor interface {
	Write(*audit.Event) error
}

// Options configure a Gateway.
type Options struct {
	// State returns the present view, or nil as long as there is none.
	State func() State
	Audit Auditor
	// Catalog keeps what sessions read and change.
	Catalog Catalog
	// Version is the gateway's, for clients of Vault's protocol.
	Version string
	// Ready says why the gateway should not get requests; nil if it should.
	Ready   func() error
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// MaxLogins is how many logins of one auth config are under review at a
	// time, MaxWaiting how many more of it wait for their turn, and Patience for
	// how long. MaxTotal bounds the logins of all auth configs, waiting ones
	// included. Zero means the defaults.
	MaxLogins  int
	MaxWaiting int
	MaxTotal   int
	Patience   time.Duration
	// ClientRate bounds the requests of one address, of IPv6 of one network of 64
	// bits; probes and the published keys are free. MethodRate bounds the logins with
	// one auth method, and, apart from them, the commands of its sessions. Zero sets
	// no limit.
	ClientRate Rate
	MethodRate Rate
	// MaxReads and MaxChanges are how many commands on the catalog are under way at a
	// time. Zero means the defaults.
	MaxReads   int
	MaxChanges int
}

// Defaults of Options.
const (
	// DefaultMaxLogins of two replicas stay well below the 200 writing requests
	// that an API server works on at a time by default
	// (--max-mutating-requests-inflight, which TokenReviews count against), so that
	// logins alone can't starve it.
	DefaultMaxLogins = 64
	// DefaultMaxWaiting and DefaultPatience: at 1,000 logins a second or more, a
	// queue of this length is empty again long before patience ends.
	DefaultMaxWaiting = 192
	DefaultPatience   = 5 * time.Second
	// DefaultMaxTotal leaves room for other auth configs when the API server of
	// one hangs, and is less than DefaultMaxConnections, so that there is always somebody
	// to tell the next caller that it is too much.
	DefaultMaxTotal = 448
)

// Bounds of requests that take much memory. A list of 100,000 items takes some
// 50 MB while it is made and sent.
const (
	maxLists        = 2
	maxBulky        = 32
	maxWaitingLarge = 64
)

// Gateway is the V2 API as an http.Handler.
type Gateway struct {
	state   func() State
	audit   Auditor
	catalog Catalog
	ready   func() error
	log     *slog.Logger
	metrics *metrics
	limits  *limits
	// lists and bulky bound how many requests at a time answer with everything
	// there is, and how many of those with bodies of more than maxUsualBody, and a
	// session, are carried out.
	lists, bulky *limiter
	bodies       *bodies.Budget
	// reads and changes bound the commands on the catalog.
	reads, changes *gate
	guesses        *guesses
	clients        *rates[netip.Prefix]
	// by access id
	methodLogins, methodCommands *rates[string]
	byName                       map[string]*route
	reviews                      *tokenreview.Handler
	vault                        *vault.Handler
}

// New makes a gateway.
func New(o Options) (*Gateway, error) {
	if o.State == nil || o.Audit == nil || o.Catalog == nil || o.Ready == nil || o.Logger == nil || o.Metrics == nil {
		return nil, errors.New("gateway: State, Audit, Catalog, Ready, Logger and Metrics must be set")
	}
	limits := &limits{
		limiters:   map[string]*limiter{},
		each:       orDefault(o.MaxLogins, DefaultMaxLogins),
		maxWaiting: int64(orDefault(o.MaxWaiting, DefaultMaxWaiting)),
		maxTotal:   int64(orDefault(o.MaxTotal, DefaultMaxTotal)),
		patience:   time.Duration(orDefault(int64(o.Patience), int64(DefaultPatience))),
	}
	reads := newGate(int64(orDefault(o.MaxReads, defaultMaxReads)), commandPatience)
	changes := newGate(int64(orDefault(o.MaxChanges, defaultMaxChanges)), commandPatience)
	metrics, err := newMetrics(o.Metrics, limits.waiting, reads, changes)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		state:   o.State,
		audit:   o.Audit,
		catalog: o.Catalog,
		ready:   o.Ready,
		log:     o.Logger,
		metrics: metrics,
		limits:  limits,
		reads:   reads, changes: changes,
		clients:      newRates[netip.Prefix](o.ClientRate),
		methodLogins: newRates[string](o.MethodRate), methodCommands: newRates[string](o.MethodRate),
	}
	g.lists = &limiter{slots: make(chan struct{}, maxLists), maxWaiting: maxWaitingLarge, patience: limits.patience}
	g.bulky = &limiter{slots: make(chan struct{}, maxBulky), maxWaiting: maxWaitingLarge, patience: limits.patience}
	g.bodies = bodies.New(bodies.Options{Free: maxUsualBody, Total: maxLargeBodies, Grace: bodyGrace})
	g.guesses = newGuesses()
	g.byName = map[string]*route{}
	for _, r := range g.routes() {
		for _, name := range r.names {
			g.byName[name] = &r
		}
	}
	g.reviews, err = tokenreview.New(tokenreview.Options{
		Session: g.reviewedSession,
		Denied: func(r *http.Request, token string, why error) error {
			if refused := g.stranger(&call{Request: r}, "token-review", token, why); refused.status == http.StatusServiceUnavailable {
				return catalog.ErrUnrecorded
			}
			return nil
		},
		Logger: g.log,
	})
	if err != nil || g.catalog == nil {
		return g, err
	}
	if g.vault, err = g.newVault(o.Version); err != nil {
		return nil, err
	}
	return g, nil
}

func orDefault[T int | int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer g.recoverPanic(w, r)
	g.dispatch(w, r)
}
