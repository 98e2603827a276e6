package gateway

import (
	"fmt"
	"hash/maphash"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/tokenreview"
	"github.com/gatepass/gatepass/gateway/vault"
	"github.com/gatepass/gatepass/internal/connlimit"
)

// Rate is how often something may happen: a token bucket. Decision 9 in docs/decisions says
// why there is none unless an administrator sets one.
type Rate struct {
	// PerSecond is how many tokens a second there are; zero is no limit.
	PerSecond float64
	// Burst is how many requests may come at once; zero is as many as a second has
	// tokens, and one at least.
	Burst int
}

const (
	// rateShards keep those apart who take tokens at the same time.
	rateShards = 64
	// maxBuckets bounds what is remembered by each shard: some 200 bytes each, 2 MiB
	// in all. Beyond it somebody is forgotten, and starts with a full bucket.
	maxBuckets = 128
	// tellInterval is how often the refusals of one bucket are recorded, so that the
	// audit log is no way around a limit.
	tellInterval = time.Second
)

// rates are token buckets, one for each key. Nil sets no limit. They are safe for
// concurrent use.
type rates[K comparable] struct {
	limit  rate.Limit
	burst  int
	seed   maphash.Seed
	shards [rateShards]rateShard[K]
}

type rateShard[K comparable] struct {
	mu      sync.Mutex
	buckets map[K]*bucket
}

type bucket struct {
	limiter *rate.Limiter
	// told is when a refusal was recorded, and untold how many were not since.
	told   time.Time
	untold int
}

// verdict says whether a request is within its rate.
type verdict struct {
	// wait is the time until there is a token; zero lets the request through.
	wait time.Duration
	// record is whether to record the refusal, and untold how many were not since the
	// last one.
	record bool
	untold int
}

func newRates[K comparable](r Rate) *rates[K] {
	if r.PerSecond <= 0 {
		return nil
	}
	made := &rates[K]{limit: rate.Limit(r.PerSecond), burst: r.Burst, seed: maphash.MakeSeed()}
	if made.burst <= 0 {
		made.burst = max(1, int(r.PerSecond))
	}
	for i := range made.shards {
		made.shards[i].buckets = map[K]*bucket{}
	}
	return made
}

// take takes a token.
func (r *rates[K]) take(key K, now time.Time) verdict {
	return r.judge(key, now, func(l *rate.Limiter) bool { return l.AllowN(now, 1) })
}

// look says what take would say, and takes none.
func (r *rates[K]) look(key K, now time.Time) verdict {
	return r.judge(key, now, func(l *rate.Limiter) bool { return l.TokensAt(now) >= 1 })
}

func (r *rates[K]) judge(key K, now time.Time, allows func(*rate.Limiter) bool) verdict {
	if r == nil {
		return verdict{}
	}
	s := &r.shards[maphash.Comparable(r.seed, key)%rateShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[key]
	if b == nil {
		s.makeRoom(now, r.burst)
		b = &bucket{limiter: rate.NewLimiter(r.limit, r.burst)}
		s.buckets[key] = b
	}
	if allows(b.limiter) {
		return verdict{}
	}
	missing := 1 - b.limiter.TokensAt(now)
	v := verdict{wait: max(1, time.Duration(missing/float64(r.limit)*float64(time.Second)))}
	if now.Sub(b.told) < tellInterval {
		b.untold++
		return v
	}
	v.record, v.untold = true, b.untold
	b.told, b.untold = now, 0
	return v
}

// makeRoom forgets those whose buckets are full again, and if that is not enough,
// somebody.
func (s *rateShard[K]) makeRoom(now time.Time, burst int) {
	if len(s.buckets) < maxBuckets {
		return
	}
	for key, b := range s.buckets {
		if b.limiter.TokensAt(now) >= float64(burst) {
			delete(s.buckets, key)
		}
	}
	for key := range s.buckets {
		if len(s.buckets) < maxBuckets {
			return
		}
		delete(s.buckets, key)
	}
}

// Limits that a request can be beyond, as metrics name them.
const (
	limitClient  = "client-rate"
	limitMethod  = "method-rate"
	limitReads   = "reads"
	limitChanges = "changes"
)

// overRate refuses and records a request of a client that sends too many.
func (g *Gateway) overRate(r *http.Request) *refusal {
	if g.clients == nil {
		return nil
	}
	now := time.Now()
	v := g.clients.take(connlimit.Network(clientAddress(r)), now)
	if v.wait == 0 {
		return nil
	}
	event := audit.Event{Time: now.UTC(), Event: g.eventOf(r.URL.Path)}
	if event.Event == eventLogin {
		g.metrics.logins.WithLabelValues(string(audit.Denied), reasonRate).Inc()
	}
	g.metrics.limited.WithLabelValues(limitClient).Inc()
	g.recordLimited(r, v, &event)
	return &refusal{http.StatusTooManyRequests, "too many requests of this client; try again later", v.wait}
}

// overMethodRate is overRate for the requests of an auth method's sessions.
func (g *Gateway) overMethodRate(r *http.Request, name string, claims *session.Claims) *refusal {
	now := time.Now()
	v := g.methodCommands.take(claims.AccessID, now)
	if v.wait == 0 {
		return nil
	}
	g.metrics.limited.WithLabelValues(limitMethod).Inc()
	g.recordLimited(r, v, &audit.Event{Time: now.UTC(), Event: name, AccessID: claims.AccessID, Subject: claims.Subject, Session: claims.ID})
	return methodLimited(v)
}

// recordLimited records a refusal, or one of many. The answer is the same if it
// can't be.
func (g *Gateway) recordLimited(r *http.Request, v verdict, event *audit.Event) {
	if !v.record {
		return
	}
	event.Result, event.Reason, event.Detail, event.Client = audit.Denied, reasonRate, v.detail(), addressText(r)
	if err := g.audit.Write(event); err != nil {
		g.log.ErrorContext(r.Context(), "the audit log can't be written", "error", err)
	}
}

func (v verdict) detail() string {
	if v.untold == 0 {
		return ""
	}
	return fmt.Sprintf("and %d more since the last line about it", v.untold)
}

func methodLimited(v verdict) *refusal {
	return &refusal{http.StatusTooManyRequests, "too many requests with this auth method; try again later", v.wait}
}

// limit refuses a login that would be one too many of its auth method.
func (g *Gateway) limit(a *attempt, v verdict) (refused bool) {
	if v.wait == 0 {
		return false
	}
	g.metrics.limited.WithLabelValues(limitMethod).Inc()
	a.end(audit.Denied, reasonRate, v.detail(), methodLimited(v))
	a.unrecorded = !v.record
	return true
}

// eventOf is what the audit log calls a request by its path alone.
func (g *Gateway) eventOf(path string) string {
	if rest, ok := strings.CutPrefix(path, vault.Prefix); ok {
		if strings.HasPrefix(rest, "auth/") && strings.HasSuffix(strings.TrimSuffix(rest, "/"), "/login") {
			return eventLogin
		}
		return eventVault
	}
	name := commandName(path)
	found, ok := g.byName[name]
	switch {
	case name == tokenreview.Path:
		return "token-review"
	case !ok:
		return "unknown"
	case found.names[0] == "auth":
		return eventLogin
	}
	return found.names[0]
}
