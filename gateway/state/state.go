// Package state keeps what the gateway answers logins from, made of the
// configuration file and of the catalog's auth methods and auth configs: one
// immutable snapshot, swapped whole.
package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/gateway"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/session"
)

// applyTimeout bounds how long a configuration may take to come into use: the
// signing keys may lie in a Secret behind an API server that does not answer.
const applyTimeout = 15 * time.Second

// Options configure a Store.
type Options struct {
	// Cluster returns the configuration to reach the gateway's own cluster with
	// its own credentials. It is asked only if the configuration needs it.
	Cluster func() (*rest.Config, error)
	// Catalog has what is not in the configuration file. CatalogChanged is to be
	// its Options.Changed.
	Catalog *catalog.Catalog
	// Keys has the keys that sign sessions.
	Keys keys.Source
	// ObserveReview, if set, is told how long each token review took.
	ObserveReview func(outcome string, took time.Duration)
	Logger        *slog.Logger
}

// Store holds the present snapshot. It is safe for concurrent use.
type Store struct {
	options Options
	present atomic.Pointer[snapshot]
	// changing is held by what replaces the snapshot.
	changing sync.Mutex
	// behind means that the catalog has changed, but could not be read.
	behind bool
}

// New makes a store that holds nothing yet.
func New(o Options) *Store { return &Store{options: o} }

// State returns the present snapshot, or nil before the first. It is nil too
// until the catalog has been read, because only that knows what was revoked.
func (s *Store) State() gateway.State {
	if s.loaded() != nil {
		return nil // not a State that holds a nil snapshot
	}
	return s.present.Load()
}

// Ready is nil once there is a snapshot, unless a record of the store does not open:
// then what others changed may be unknown here, and requests should go to them.
func (s *Store) Ready() error {
	if err := s.loaded(); err != nil {
		return err
	}
	return s.options.Catalog.Intact() //nolint:wrapcheck // it says all there is to say
}

// loaded is nil once there is a snapshot.
func (s *Store) loaded() error {
	present := s.present.Load()
	if present == nil {
		return errors.New("no valid configuration yet")
	}
	if err := s.options.Catalog.Ready(); err != nil {
		return err //nolint:wrapcheck // it says all there is to say
	}
	if !present.read {
		return errors.New("the auth methods of the store are not in use yet")
	}
	return nil
}

// Apply takes a configuration into use, completely or not at all.
func (s *Store) Apply(ctx context.Context, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	s.changing.Lock()
	defer s.changing.Unlock()
	old := s.present.Load()
	next := &snapshot{config: cfg, catalog: s.options.Catalog}
	err := s.declare(next)
	if err == nil {
		err = s.readKeys(ctx, next, old) // after all else: it may make keys
	}
	if err != nil {
		next.declared.close()
		return err
	}
	logins := func(ctx context.Context) (*catalog.Logins, error) { return s.options.Catalog.LoginsUnder(ctx, cfg) }
	if err := s.fill(ctx, next, old, logins); err != nil {
		next.declared.close()
		return err
	}
	// Nothing can fail any more: roles of the file are not given to its predecessor's
	// auth methods.
	s.options.Catalog.SetFile(cfg)
	s.replace(next)
	return nil
}

// CatalogChanged takes the catalog's auth methods and auth configs into use. What
// can't be read is tried again by Follow.
func (s *Store) CatalogChanged(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	s.changing.Lock()
	defer s.changing.Unlock()
	s.update(ctx)
}

// update is CatalogChanged for those who hold s.changing.
func (s *Store) update(ctx context.Context) {
	old := s.present.Load()
	if old == nil {
		return
	}
	next := &snapshot{config: old.config, catalog: old.catalog, declared: old.declared, signing: old.signing}
	if err := s.fill(ctx, next, old, s.options.Catalog.Logins); err != nil {
		s.behind = true
		s.options.Logger.Error("changed auth methods can't be taken into use; the ones before stay", "error", err)
		return
	}
	s.replace(next)
}

// fill adds what the store has to what the file has. If the store can't be read, it
// is what it had before.
func (s *Store) fill(ctx context.Context, next, old *snapshot, read func(context.Context) (*catalog.Logins, error)) error {
	ready := s.options.Catalog.Ready() == nil // before, not after
	logins, err := read(ctx)
	s.behind = err != nil
	switch {
	case err == nil:
		next.read = ready
	case ctx.Err() == nil && old != nil:
		s.options.Logger.Warn("auth methods of the store can't be read; the ones before stay in use", "error", err)
		logins, next.read = old.logins, old.read
	default:
		return fmt.Errorf("auth methods of the store: %w", err)
	}
	s.store(next, old, logins)
	return nil
}

func (s *Store) replace(next *snapshot) {
	old := s.present.Swap(next)
	if old == nil {
		return
	}
	for _, clients := range [...]struct{ old, now clients }{{old.declared, next.declared}, {old.stored, next.stored}} {
		for name, c := range clients.old {
			if clients.now[name] != c {
				c.close()
			}
		}
	}
}

// Close lets go of idle connections.
func (s *Store) Close() {
	if present := s.present.Load(); present != nil {
		present.declared.close()
		present.stored.close()
	}
}

// snapshot implements gateway.State. It never changes; what it asks the catalog
// does.
type snapshot struct {
	config  *config.Config
	catalog *catalog.Catalog
	// logins are what stored and parts of methods were made of.
	logins *catalog.Logins
	// read is whether the catalog had been read by then. Between that and the next
	// snapshot, sessions of its auth methods would be taken for forged ones.
	read bool
	// declared are the auth configs of the file, and stored the others.
	declared, stored clients
	methods          map[string]*authmethod.Method // by access id
	names            map[string]*authmethod.Method
	signing
}

func (s *snapshot) AuthConfig(name string) (*gateway.AuthConfig, bool) {
	if c, ok := s.declared[name]; ok {
		return &c.AuthConfig, true
	}
	if c, ok := s.stored[name]; ok {
		return &c.AuthConfig, true
	}
	return nil, false
}

func (s *snapshot) AuthMethod(accessID string) (*authmethod.Method, bool) {
	m, ok := s.methods[accessID]
	return m, ok
}

func (s *snapshot) AuthMethodNamed(name string) (*authmethod.Method, bool) {
	m, ok := s.names[name]
	return m, ok
}

func (s *snapshot) Sessions() *session.Keyring { return s.sessions }

func (s *snapshot) Authenticate(token string, client netip.Addr) (*session.Claims, error) {
	now := time.Now()
	claims, err := s.sessions.Verify(token, now)
	if err != nil {
		return nil, err //nolint:wrapcheck // the texts are for callers
	}
	view := s.catalog.View()
	if err := view.Check(claims, now); err != nil {
		return nil, err //nolint:wrapcheck // the texts are for callers
	}
	if err := view.CheckClient(claims, client); err != nil {
		return nil, err //nolint:wrapcheck // the texts are for callers
	}
	return claims, nil
}

func (s *snapshot) LeaseEnd(c *session.Claims) time.Time { return s.catalog.View().LeaseEnd(c) }

func (s *snapshot) VerifyAccessKey(accessID, accessKey string) bool {
	return s.catalog.View().VerifyAccessKey(accessID, accessKey)
}

func (s *snapshot) Generation(accessID, subject string) string {
	return s.catalog.View().Generation(accessID, subject)
}
