// Package gateway serves the V2 API: it exchanges a Kubernetes service-account
// token for a session, validates sessions, and publishes the keys that others
// verify them with.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/session"
)

// State is one consistent view of what requests are answered from. It does
// not change while a request uses it.
type State interface {
	// AuthConfig finds a Kubernetes auth config by name.
	AuthConfig(name string) (*AuthConfig, bool)
	// AuthMethod finds an auth method by access id.
	AuthMethod(accessID string) (*authmethod.Method, bool)
	// Sessions signs and verifies.
	Sessions() *session.Keyring
}

// AuthConfig is a Kubernetes auth config: which API server judges the tokens
// of which auth method.
type AuthConfig struct {
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

// Gateway is the V2 API as an http.Handler.
type Gateway struct {
	state    func() State
	audit    Auditor
	ready    func() error
	log      *slog.Logger
	metrics  *metrics
	limits   *limits
	commands map[string]command
}

// New makes a gateway.
func New(o Options) (*Gateway, error) {
	if o.State == nil || o.Audit == nil || o.Ready == nil || o.Logger == nil || o.Metrics == nil {
		return nil, errors.New("gateway: State, Audit, Ready, Logger and Metrics must be set")
	}
	limits := &limits{
		limiters:   map[string]*limiter{},
		each:       orDefault(o.MaxLogins, DefaultMaxLogins),
		maxWaiting: int64(orDefault(o.MaxWaiting, DefaultMaxWaiting)),
		maxTotal:   int64(orDefault(o.MaxTotal, DefaultMaxTotal)),
		patience:   time.Duration(orDefault(int64(o.Patience), int64(DefaultPatience))),
	}
	metrics, err := newMetrics(o.Metrics, limits.waiting)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		state:   o.State,
		audit:   o.Audit,
		ready:   o.Ready,
		log:     o.Logger,
		metrics: metrics,
		limits:  limits,
	}
	g.commands = map[string]command{
		"auth":                g.login,
		"validate-token":      g.validateToken,
		"describe-sub-claims": g.describeSubClaims,
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
	g.route(w, r)
}
