// Package state keeps what the gateway answers from, made of a declarative
// configuration: one immutable snapshot, swapped whole.
package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/gateway"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/review"
	"github.com/gatepass/gatepass/gateway/session"
)

// applyTimeout bounds how long a configuration may take to come into use: the
// keys may lie in a Secret behind an API server that does not answer.
const applyTimeout = 15 * time.Second

// Options configure a Store.
type Options struct {
	// Cluster returns the configuration to reach the gateway's own cluster with
	// its own credentials. It is asked only if the configuration needs it.
	Cluster func() (*rest.Config, error)
	// Keys keeps the keys that no file holds.
	Keys keys.Store
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
}

// New makes a store that holds nothing yet.
func New(o Options) *Store { return &Store{options: o} }

// State returns the present snapshot, or nil before the first.
func (s *Store) State() gateway.State {
	if present := s.present.Load(); present != nil {
		return present
	}
	return nil // not a State that holds a nil snapshot
}

// Ready is nil once there is a snapshot.
func (s *Store) Ready() error {
	if s.present.Load() == nil {
		return errors.New("no valid configuration yet")
	}
	return nil
}

// Apply takes a configuration into use, completely or not at all.
func (s *Store) Apply(ctx context.Context, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	s.changing.Lock()
	defer s.changing.Unlock()
	next, err := s.build(ctx, cfg)
	if err != nil {
		return err
	}
	if old := s.present.Swap(next); old != nil {
		old.close()
	}
	return nil
}

// Close lets go of idle connections.
func (s *Store) Close() {
	if present := s.present.Load(); present != nil {
		present.close()
	}
}

// snapshot implements gateway.State. It never changes.
type snapshot struct {
	authConfigs map[string]*gateway.AuthConfig
	methods     map[string]*authmethod.Method
	reviewers   []*review.Client
	config      *config.Config
	signing
}

func (s *snapshot) AuthConfig(name string) (*gateway.AuthConfig, bool) {
	c, ok := s.authConfigs[name]
	return c, ok
}

func (s *snapshot) AuthMethod(accessID string) (*authmethod.Method, bool) {
	m, ok := s.methods[accessID]
	return m, ok
}

func (s *snapshot) AuthMethodNamed(name string) (*authmethod.Method, bool) {
	for _, m := range s.methods {
		if m.Name == name {
			return m, true
		}
	}
	return nil, false
}

func (s *snapshot) Sessions() *session.Keyring { return s.sessions }

func (s *snapshot) Authenticate(token string) (*session.Claims, error) {
	return s.sessions.Verify(token, time.Now())
}

func (s *snapshot) LeaseEnd(c *session.Claims) time.Time { return c.ExpiresAt() }

func (s *snapshot) VerifyAccessKey(string, string) bool { return false }

func (s *snapshot) IssueTime(_, _ string, now time.Time) time.Time { return now }

func (s *snapshot) close() {
	for _, r := range s.reviewers {
		r.Close()
	}
}

func (s *Store) build(ctx context.Context, cfg *config.Config) (*snapshot, error) {
	next := &snapshot{
		authConfigs: make(map[string]*gateway.AuthConfig, len(cfg.KubernetesAuthConfigs)),
		methods:     make(map[string]*authmethod.Method, len(cfg.AuthMethods)),
	}
	var errs []error
	for i := range cfg.KubernetesAuthConfigs {
		c := &cfg.KubernetesAuthConfigs[i]
		reviewer, err := s.reviewer(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("kubernetes auth config %q: %w", c.Name, err))
			continue
		}
		next.reviewers = append(next.reviewers, reviewer)
		next.authConfigs[c.Name] = &gateway.AuthConfig{Name: c.Name, AccessID: c.AccessID, Reviewer: reviewer}
	}
	for i := range cfg.AuthMethods {
		m := &cfg.AuthMethods[i]
		next.methods[m.AccessID] = &authmethod.Method{
			Name:            m.Name,
			AccessID:        m.AccessID,
			Expires:         m.AccessExpires,
			SessionTTL:      m.SessionTTL,
			SessionMaxTTL:   m.SessionMaxTTL,
			BoundIPs:        m.BoundIPs,
			Audience:        m.Kubernetes.Audience,
			Namespaces:      m.Kubernetes.BoundNamespaces,
			PodNames:        m.Kubernetes.BoundPodNames,
			ServiceAccounts: m.Kubernetes.BoundServiceAccountNames,
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err // before any key is generated
	}
	next.config = cfg
	if err := s.sign(ctx, next, s.present.Load()); err != nil {
		return nil, err
	}
	return next, nil
}
