package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"

	"github.com/gatepass/gatepass/gateway"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/review"
)

// client is an auth config with the connection to its API server.
type client struct {
	gateway.AuthConfig
	// source is what it was made of, if that is the store's.
	source catalog.AuthConfig
	close  func()
}

// clients are auth configs by name.
type clients map[string]*client

func (c clients) close() {
	for _, each := range c {
		each.close()
	}
}

// declare makes the auth configs and auth methods of the file.
func (s *Store) declare(next *snapshot) error {
	next.declared = make(clients, len(next.config.KubernetesAuthConfigs))
	var errs []error
	for i := range next.config.KubernetesAuthConfigs {
		c := &next.config.KubernetesAuthConfigs[i]
		reviewer, err := s.reviewer(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("kubernetes auth config %q: %w", c.Name, err))
			continue
		}
		next.declared[c.Name] = &client{
			AuthConfig: gateway.AuthConfig{ID: catalog.DeclaredID(c.Name), Name: c.Name, AccessID: c.AccessID, Reviewer: reviewer},
			close:      reviewer.Close,
		}
	}
	return errors.Join(errs...)
}

// store adds the auth configs and auth methods of the store. An auth config that
// has not changed keeps its connections.
func (s *Store) store(next, old *snapshot, logins *catalog.Logins) {
	next.logins = logins
	next.methods = make(map[string]*authmethod.Method, len(next.config.AuthMethods)+len(logins.Methods))
	next.names = make(map[string]*authmethod.Method, len(next.config.AuthMethods)+len(logins.Methods))
	for _, m := range logins.Methods {
		next.methods[m.AccessID], next.names[m.Name] = m, m
	}
	for i := range next.config.AuthMethods { // last, because they hide the store's
		m := &next.config.AuthMethods[i]
		method := &authmethod.Method{
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
		next.methods[m.AccessID], next.names[m.Name] = method, method
	}
	next.stored = make(clients, len(logins.AuthConfigs))
	for i := range logins.AuthConfigs {
		c := &logins.AuthConfigs[i]
		if old != nil {
			if same, ok := old.stored[c.Name]; ok && reflect.DeepEqual(same.source, *c) {
				next.stored[c.Name] = same
				continue
			}
		}
		next.stored[c.Name] = s.connect(c)
	}
}

// connect makes the client of an auth config of the store. One that can't be made
// keeps nobody else from logging in: whoever comes through it is told so.
func (s *Store) connect(c *catalog.AuthConfig) *client {
	made := &client{AuthConfig: gateway.AuthConfig{ID: c.ID, Name: c.Name, AccessID: c.AccessID}, source: *c, close: func() {}}
	reviewer, err := s.storedReviewer(c)
	if err != nil {
		s.options.Logger.Error("an auth config can't be used", "auth_config", c.Name, "error", err)
		made.Reviewer = unusable{err}
		return made
	}
	made.Reviewer, made.close = reviewer, reviewer.Close
	return made
}

// Usable says why an auth config can't be used by this gateway; nil if it can. It is
// to be the Catalog's Options.Usable.
func (s *Store) Usable(c *catalog.AuthConfig) error {
	reviewer, err := s.storedReviewer(c)
	if err != nil {
		return err
	}
	reviewer.Close()
	return nil
}

// repair tries auth configs of the store again that can't be used: what they lack,
// for example a way to the gateway's own cluster, may be there now. The caller holds
// s.changing.
func (s *Store) repair() {
	old := s.present.Load()
	if old == nil {
		return
	}
	next, repaired := *old, clients{}
	for name, c := range old.stored {
		if _, broken := c.Reviewer.(unusable); !broken {
			continue
		}
		if reviewer, err := s.storedReviewer(&c.source); err == nil {
			made := &client{AuthConfig: c.AuthConfig, source: c.source, close: reviewer.Close}
			made.Reviewer = reviewer
			repaired[name] = made
			s.options.Logger.Info("an auth config can be used now", "auth_config", name)
		}
	}
	if len(repaired) == 0 {
		return
	}
	next.stored = maps.Clone(old.stored)
	maps.Copy(next.stored, repaired)
	s.present.Store(&next)
}

// unusable is the reviewer of an auth config that can't be used.
type unusable struct{ err error }

// Review implements gateway.Reviewer.
func (u unusable) Review(context.Context, string, string) (*authmethod.User, error) {
	return nil, &review.Failure{Reason: review.ReasonUnusable, Detail: "the auth config can't be used: " + u.err.Error()}
}
