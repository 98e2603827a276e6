package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/store"
)

// Auth methods refer to auth configs by id. A name says nothing about whose the object is
// that has it next: with a name, whoever takes it when it is free decides who logs in.
// An auth config of the configuration file has its name as its id, marked as declared,
// so that no object of the store can take its place.

// DeclaredID is the id of an object of the configuration file.
func DeclaredID(name string) string { return declaredPrefix + name }

// configByID finds an auth config that can be used, or returns nil.
func (v *View) configByID(id string) *authConfig {
	if name, ok := strings.CutPrefix(id, declaredPrefix); ok {
		return v.file.configs[name]
	}
	c, ok := v.configIDs.get(id)
	if !ok || v.file.configs[c.name] != nil {
		return nil
	}
	return c
}

// configName is the name by which an auth config is told. It has one even if the
// configuration file does not declare it any more, or hides it; none if it is gone.
func (v *View) configName(id string) string {
	if name, ok := strings.CutPrefix(id, declaredPrefix); ok {
		return name
	}
	if c, ok := v.configIDs.get(id); ok {
		return c.name
	}
	return ""
}

// tellMethod makes the object that callers get.
func (v *View) tellMethod(m *method) Method {
	told := m.tell()
	for _, id := range m.AuthConfigs {
		if name := v.configName(id); name != "" && !slices.Contains(told.AuthConfigs, name) {
			told.AuthConfigs = append(told.AuthConfigs, name)
		}
	}
	return told
}

// bindConfigs finds the auth configs that a method is to let identities come through. One
// that it has already it keeps, whatever has that name by now.
func (s sight) bindConfigs(m *method, names []string) ([]string, error) {
	var ids []string
	for _, name := range names {
		var kept []string
		for _, id := range m.AuthConfigs {
			if s.configName(id) == name {
				kept = append(kept, id)
			}
		}
		if kept == nil {
			c, err := s.shareable(m, name)
			if err != nil {
				return nil, fmt.Errorf("auth config %s: %w", shorten(name), err)
			}
			kept = []string{c.ID}
		}
		ids = append(ids, kept...)
	}
	return ids, nil
}

// shareable returns an auth config that identities of a method may come through: its
// own, a mount's, or one of the configuration file. Whoever may change another method's
// would log in as anybody.
func (s sight) shareable(m *method, name string) (*authConfig, error) {
	c := s.config(name)
	if c == nil {
		t, err := named(access.AuthMethodRule, name)
		if err != nil {
			return nil, err
		}
		return nil, s.may(access.Read, t, false)
	}
	if !s.mayConfig(access.Read, c) {
		return nil, deniedConfig(access.Read, name)
	}
	if !c.sharedWith(m.AccessID) {
		return nil, fmt.Errorf("it belongs to %s, for which alone it is %w", s.ownerOf(c), ErrInUse)
	}
	return c, nil
}

// sharedWith reports whether an auth config may let in identities of a method.
func (c *authConfig) sharedWith(accessID string) bool {
	return c.declared || c.AccessID == "" || c.AccessID == accessID
}

// ownerOf says to whom an auth config belongs, as far as the caller may know.
func (s sight) ownerOf(c *authConfig) string {
	switch m := s.methodByID(c.AccessID); {
	case c.declared:
		return "the configuration file"
	case c.AccessID == "":
		return "the auth mount " + c.name
	case m != nil && s.mayListName(access.AuthMethodRule, m.name):
		return fmt.Sprintf("auth method %s (access id %s)", m.name, m.AccessID)
	case m == nil && s.mayAdministrate():
		return fmt.Sprintf("access id %s, whose auth method is gone", c.AccessID)
	}
	return "another auth method"
}

// referringTo returns an auth method that refers to an auth config, or nil. It looks at
// those that the configuration file hides, too.
func (s sight) referringTo(id string) *method {
	for _, m := range s.methods.all() {
		if slices.Contains(m.AuthConfigs, id) {
			return m
		}
	}
	return nil
}

// bind gives auth methods that an earlier version wrote, which refer to auth configs by
// name, the ids of those that have the names now. The view must be nobody else's.
func (v *View) bind(log *slog.Logger) {
	if !v.unbound {
		return
	}
	v.unbound = false
	var bound []*method
	for _, m := range v.methods.all() {
		if len(m.AuthConfigNames) == 0 {
			continue
		}
		next := *m
		next.AuthConfigs, next.AuthConfigNames, next.unsaved = slices.Clone(m.AuthConfigs), nil, true
		for _, name := range m.AuthConfigNames {
			if id := v.boundTo(m, name, log); id != "" {
				next.AuthConfigs = append(next.AuthConfigs, id)
			}
		}
		bound = append(bound, &next)
	}
	for _, m := range bound {
		v.unsaved = true
		v.methods.set(m.name, m)
		v.methodIDs.set(m.AccessID, m)
	}
}

// boundTo is the id that stands for the name of an auth config. Of one that is not there
// it is that of the configuration file, which may have had it: it lets nobody in, and the
// name is kept from others.
func (v *View) boundTo(m *method, name string, log *slog.Logger) string {
	c := v.config(name)
	if c == nil {
		return DeclaredID(name)
	}
	if !c.sharedWith(m.AccessID) {
		log.Error("an auth method named another one's auth config, through which whoever may change that could log in as anybody; it does not let in through it any more",
			"auth_method", m.name, "auth_config", name, "belongs_to", c.AccessID)
		return ""
	}
	return c.ID
}

// saveBound writes what bind found out, so that it does not depend on what has the names
// when a gateway starts again.
func (c *Catalog) saveBound(ctx context.Context) {
	saved := 0
	for _, m := range c.unsaved() {
		record, err := encode(m.methodRecord)
		if err == nil {
			_, err = c.options.Store.Commit(ctx, store.Update(m.key(), record, m.revision))
		}
		if errors.Is(err, store.ErrConflict) {
			continue // it was changed meanwhile, by another gateway for the same reason perhaps
		}
		if err != nil {
			c.options.Logger.Warn("auth methods of an earlier version can't be written again; the next attempt follows", "auth_method", m.name, "error", err)
			return
		}
		saved++
	}
	if saved > 0 {
		c.options.Logger.Info("auth methods of an earlier version refer to their auth configs by id now", "count", saved)
	}
}

// unsaved returns the methods that bind has changed and that are not written yet.
func (c *Catalog) unsaved() []*method {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draft.unsaved {
		return nil
	}
	var all []*method
	for _, m := range c.draft.methods.all() {
		if m.unsaved {
			all = append(all, m)
		}
	}
	c.draft.unsaved = len(all) > 0
	return all
}
