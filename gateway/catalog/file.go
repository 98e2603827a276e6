package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatepass/gatepass/gateway/config"
)

// declared are the objects of the configuration file. They never change.
type declared struct {
	methods, methodIDs map[string]*method
	configs            map[string]*authConfig
	roles              map[string]*role
	associations       map[string]*association
}

func newDeclared() *declared {
	return &declared{
		methods: map[string]*method{}, methodIDs: map[string]*method{},
		configs: map[string]*authConfig{}, roles: map[string]*role{}, associations: map[string]*association{},
	}
}

// hidesMethod says whether a method of the store has the name or the access id of
// one in the file. The administrator's name is one that no file can have.
func (d *declared) hidesMethod(m *method) bool {
	return d.methods[m.name] != nil || d.methodIDs[m.AccessID] != nil
}

// SetFile puts the objects of a configuration file in the place of those of the
// file before. They hide the store's of the same name.
func (c *Catalog) SetFile(cfg *config.Config) {
	d := declare(cfg)
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.draft.file.methodIDs {
		if d.methodIDs[id] == nil {
			c.gone[id] = true
		}
	}
	c.draft.file, c.hasFile = d, true
	c.publish(onLogins | onPolicy)
	c.warnHidden()
	select {
	case c.fileChanged <- struct{}{}:
	default: // it is to be looked at already
	}
}

// LoginsUnder is Logins as they will be when SetFile has been called. A configuration is
// taken into use whole: until all of it can be, none of its roles are given.
func (c *Catalog) LoginsUnder(ctx context.Context, cfg *config.Config) (*Logins, error) {
	c.mu.Lock()
	v := c.draft.clone()
	c.mu.Unlock()
	v.file = declare(cfg)
	v.bind(c.options.Logger)
	return c.loginsOf(ctx, v)
}

func declare(cfg *config.Config) *declared {
	d := newDeclared()
	for i := range cfg.AuthMethods {
		m := declaredMethod(&cfg.AuthMethods[i])
		d.methods[m.name], d.methodIDs[m.AccessID] = m, m
	}
	for i := range cfg.KubernetesAuthConfigs {
		k := &cfg.KubernetesAuthConfigs[i]
		d.configs[k.Name] = &authConfig{name: k.Name, declared: true, authConfigRecord: authConfigRecord{
			ID: declaredPrefix + k.Name, AccessID: k.AccessID, Host: k.Host, CACert: k.CABundle, Reviewer: Reviewer(k.Reviewer.Type),
		}}
	}
	for i := range cfg.Roles {
		d.declareRole(&cfg.Roles[i])
	}
	return d
}

func (d *declared) declareRole(r *config.Role) {
	made := &role{name: r.Name, declared: true}
	made.ID, made.Description = declaredPrefix+r.Name, r.Description
	for _, rule := range r.Rules {
		made.Rules = append(made.Rules, ruleRecord{rule.Type, rule.Path, rule.Capabilities})
	}
	d.roles[r.Name] = made
	for i, given := range r.Associations {
		a := &association{id: fmt.Sprintf("%s%s/%d", declaredPrefix, r.Name, i), declared: true}
		a.Role, a.AccessID, a.SubClaims, a.CaseSensitive = made.ID, given.AccessID, given.SubClaims, given.CaseSensitive
		d.associations[a.id] = a
	}
}

func declaredMethod(m *config.AuthMethod) *method {
	d := &method{name: m.Name, declared: true, methodRecord: methodRecord{
		AccessID:        m.AccessID,
		Type:            TypeK8s,
		Expires:         m.AccessExpires,
		SessionTTL:      int64(m.SessionTTL / time.Second),
		SessionMaxTTL:   int64(m.SessionMaxTTL / time.Second),
		Audience:        m.Kubernetes.Audience,
		Namespaces:      m.Kubernetes.BoundNamespaces,
		PodNames:        m.Kubernetes.BoundPodNames,
		ServiceAccounts: m.Kubernetes.BoundServiceAccountNames,
	}}
	for _, p := range m.BoundIPs {
		d.BoundIPs = append(d.BoundIPs, p.String())
	}
	d.bounds = m.BoundIPs
	return d
}

// warnHidden tells which objects of the store can't be reached.
func (c *Catalog) warnHidden() {
	hidden := func(kind, name string) {
		c.options.Logger.Warn("an object of the store is hidden by one of the configuration file that has its name or access id; rename one of them", "kind", kind, "name", name)
	}
	for name, m := range c.draft.methods.all() {
		if c.draft.file.hidesMethod(m) {
			hidden("auth method", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.draft.file.configs)) {
		if c.draft.configs.has(name) {
			hidden("Kubernetes auth config", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.draft.file.roles)) {
		if c.draft.roles.has(name) {
			hidden("role", name)
		}
	}
}
