package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/store"
)

// rules are what the method asks of who logs in.
func (m *method) rules(account Settings) (*authmethod.Method, error) {
	r := &authmethod.Method{
		Name:            m.name,
		AccessID:        m.AccessID,
		Expires:         m.Expires,
		SessionTTL:      seconds(m.SessionTTL),
		SessionMaxTTL:   seconds(m.SessionMaxTTL),
		AuthConfigs:     m.AuthConfigs,
		Audience:        m.Audience,
		Namespaces:      m.Namespaces,
		PodNames:        m.PodNames,
		ServiceAccounts: m.ServiceAccounts,
	}
	if r.SessionTTL == 0 {
		r.SessionTTL = account.SessionTTL
	}
	for _, text := range m.BoundIPs {
		p, err := config.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("auth method %s: the bound address %q: %w", m.name, text, err)
		}
		r.BoundIPs = append(r.BoundIPs, p)
	}
	return r, nil
}

// Logins are the auth methods and Kubernetes auth configs of the store with their
// secrets: what logging in takes.
type Logins struct {
	Methods     []*authmethod.Method
	AuthConfigs []AuthConfig
}

// Logins reads what logging in under the store's objects takes. An object whose
// secrets don't open is left out; the error means that the store can't be reached.
func (c *Catalog) Logins(ctx context.Context) (*Logins, error) { return c.loginsOf(ctx, c.View()) }

func (c *Catalog) loginsOf(ctx context.Context, v *View) (*Logins, error) {
	l := &Logins{}
	used := map[string]bool{}
	account := v.Settings()
	for _, m := range v.allMethods() {
		if m.declared {
			continue
		}
		rules, err := m.rules(account)
		if err := c.leaveOut(err, "auth method", m.name); err != nil {
			return nil, err
		}
		if err == nil {
			l.Methods = append(l.Methods, rules)
		}
	}
	for _, k := range v.allConfigs() {
		if k.declared {
			continue
		}
		told, err := c.withSecrets(ctx, used, k)
		if err := c.leaveOut(err, "auth config", k.name); err != nil {
			return nil, err
		}
		if err == nil {
			l.AuthConfigs = append(l.AuthConfigs, told)
		}
	}
	c.secrets.keep(used)
	return l, nil
}

// leaveOut tells an object that can't be used from a store that can't be reached. A
// record that is missing is the view's being behind, which will change.
func (c *Catalog) leaveOut(err error, kind, name string) error {
	switch {
	case err == nil:
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("%s %s: %w", kind, name, err)
	default:
		c.options.Logger.Error("an object can't be used for logins", "kind", kind, "name", name, "error", err)
	}
	return nil
}

// secretCache keeps what was made of sealed records, which never change.
type secretCache struct {
	mu    sync.Mutex
	byKey map[string]any
}

func (s *secretCache) get(key string) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.byKey[key]
	return v, ok
}

func (s *secretCache) put(key string, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey == nil {
		s.byKey = map[string]any{}
	}
	s.byKey[key] = v
}

// keep forgets what is not used any more.
func (s *secretCache) keep(used map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.byKey {
		if !used[key] {
			delete(s.byKey, key)
		}
	}
}

func (c *Catalog) withSecrets(ctx context.Context, used map[string]bool, k *authConfig) (AuthConfig, error) {
	told := k.tell()
	key := configSecretKey(k.ID, k.Secret)
	used[key] = true
	found, ok := c.secrets.get(key)
	secrets, ok2 := found.(configSecrets)
	if !ok || !ok2 {
		var err error
		if secrets, err = c.configSecrets(ctx, k); err != nil {
			return AuthConfig{}, err
		}
		c.secrets.put(key, secrets)
	}
	told.ReviewerJWT, told.ClientKey = slices.Clone(secrets.ReviewerJWT), slices.Clone(secrets.ClientKey)
	return told, nil
}
