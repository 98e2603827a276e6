package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/store"
)

// CreateRole implements Accessor.
func (a *accessor) CreateRole(ctx context.Context, made Role) error {
	r := a.begin("role-create", made.Name)
	r.event.Rule = recordedRules(made.Rules...)
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		t, err := named(access.RoleRule, made.Name)
		if err != nil {
			return nil, err
		}
		if err := s.mayCreate(t, s.role(t.path.Name()) != nil || s.roles.has(t.path.Name())); err != nil {
			return nil, err
		}
		now := time.Now().UTC()
		next := &role{name: t.path.Name()}
		next.ID, next.Description, next.Created, next.Modified = newID(), made.Description, now, now
		for _, rule := range made.Rules {
			if err := next.setRule(rule); err != nil {
				return nil, err
			}
		}
		record, err := next.encode()
		if err != nil {
			return nil, err
		}
		return []store.Op{store.Create(next.key(), record)}, nil
	})
}

// recordedRules are rules as the audit log has them.
func recordedRules(rules ...access.Rule) string {
	var texts []string
	for _, rule := range rules {
		var may []string
		for _, c := range rule.Capabilities {
			may = append(may, string(c))
		}
		texts = append(texts, strings.Join(may, ",")+" "+string(rule.Type)+" "+rule.Path)
	}
	return strings.Join(texts, "; ")
}

// encode checks and writes the record of a role.
func (r *role) encode() ([]byte, error) {
	if err := checkText(r.Description, nil); err != nil {
		return nil, err
	}
	return encode(r.roleRecord)
}

// setRule puts a rule in, in the place of one of the same type and path.
func (r *role) setRule(rule access.Rule) error {
	if err := rule.Validate(field.NewPath("rule")).ToAggregate(); err != nil {
		return invalid("%w", err)
	}
	if err := checkVisible("the path of the rule", rule.Path); err != nil {
		return err
	}
	path := "/" + strings.TrimPrefix(rule.Path, "/")
	record := ruleRecord{rule.Type, path, slices.Clone(rule.Capabilities)}
	rules := slices.Clone(r.Rules)
	if i := r.ruleAt(rule.Type, path); i >= 0 {
		rules[i] = record
	} else {
		rules = append(rules, record)
	}
	r.Rules = rules
	return nil
}

// ruleAt returns the place of a rule, or -1.
func (r *role) ruleAt(t access.RuleType, path string) int {
	return slices.IndexFunc(r.Rules, func(rule ruleRecord) bool {
		return rule.Type == t && strings.TrimPrefix(rule.Path, "/") == strings.TrimPrefix(path, "/")
	})
}

// updateRole changes a role that the caller may change.
func (a *accessor) updateRole(ctx context.Context, r *request, name string, update func(sight, *role) error) error {
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		old, err := s.roleTo(access.Update, name)
		if err != nil {
			return nil, err
		}
		next := *old
		next.Modified = time.Now().UTC()
		if err := update(s, &next); err != nil {
			return nil, err
		}
		record, err := next.encode()
		if err != nil {
			return nil, err
		}
		return moved(old.key(), old.revision, next.key(), record), nil
	})
}

// UpdateRole implements Accessor.
func (a *accessor) UpdateRole(ctx context.Context, name string, change func(*Role) error) error {
	r := a.begin("role-update", name)
	return a.updateRole(ctx, r, name, func(s sight, next *role) error {
		wanted := Role{Name: next.name, Description: next.Description}
		if err := change(&wanted); err != nil {
			return err
		}
		next.Description = wanted.Description
		t, err := named(access.RoleRule, wanted.Name)
		if err != nil || t.path.Name() == next.name {
			return err
		}
		from, err := named(access.RoleRule, next.name)
		if err != nil {
			return err
		}
		r.event.NewName = t.path.Name()
		next.name = t.path.Name()
		return s.mayMove(from, t, s.role(next.name) != nil || s.roles.has(next.name))
	})
}

// SetRule implements Accessor.
func (a *accessor) SetRule(ctx context.Context, name string, rule access.Rule) error {
	r := a.begin("rule-set", name)
	r.event.Rule = recordedRules(rule)
	return a.updateRole(ctx, r, name, func(_ sight, next *role) error { return next.setRule(rule) })
}

// DeleteRule implements Accessor.
func (a *accessor) DeleteRule(ctx context.Context, name string, t access.RuleType, path string) error {
	r := a.begin("rule-delete", name)
	r.event.Rule = string(t) + " " + path
	return a.updateRole(ctx, r, name, func(_ sight, next *role) error {
		i := next.ruleAt(t, path)
		if i < 0 {
			return fmt.Errorf("role %s: a rule of type %s on %s: %w", next.name, shorten(string(t)), shorten(path), ErrNotFound)
		}
		r.event.Rule = recordedRules(next.rules()[i])
		next.Rules = slices.Delete(slices.Clone(next.Rules), i, i+1)
		return nil
	})
}

// Role implements Accessor.
func (a *accessor) Role(_ context.Context, name string) (told Role, err error) {
	err = a.begin("role-read", name).read(func(s sight) error {
		t, err := named(access.RoleRule, name)
		if err != nil {
			return err
		}
		found := s.role(t.path.Name())
		if err := s.may(access.Read, t, found != nil); err != nil {
			return err
		}
		told = s.tellRole(found)
		return nil
	})
	if err != nil {
		return Role{}, err
	}
	return told, nil
}

// tellRole tells of the associations those whose auth method the caller may know.
func (s sight) tellRole(r *role) Role {
	return Role{
		Name:        r.name,
		Description: r.Description,
		Rules:       r.rules(),
		Associations: tellAll(s.linksOf(func(l link) bool {
			return l.role.name == r.name && s.mayListName(access.AuthMethodRule, l.method.name)
		})),
		FromFile: r.declared,
		Created:  r.Created,
		Modified: r.Modified,
	}
}

// ListRoles implements Accessor. It tells no associations, and of roles that the
// caller may list, but not read, the names.
func (a *accessor) ListRoles(_ context.Context, p Page) (roles []Role, next string, err error) {
	r := a.begin("role-list", "")
	err = r.read(func(s sight) error {
		var found []*role
		found, next = page(slices.DeleteFunc(s.allRoles(), func(r *role) bool {
			return !s.mayListName(access.RoleRule, r.name)
		}), p, func(r *role) string { return r.name })
		for _, r := range found {
			if !s.mayRead(access.RoleRule, r.name) {
				roles = append(roles, Role{Name: r.name, FromFile: r.declared})
				continue
			}
			roles = append(roles, Role{
				Name: r.name, Description: r.Description, Rules: r.rules(),
				FromFile: r.declared, Created: r.Created, Modified: r.Modified,
			})
		}
		r.event.Count = len(roles)
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return roles, next, nil
}

// DeleteRole implements Accessor. The role's associations go with it.
func (a *accessor) DeleteRole(ctx context.Context, name string) error {
	r := a.begin("role-delete", name)
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		old, err := s.roleTo(access.Delete, name)
		if err != nil {
			return nil, err
		}
		ops := []store.Op{store.Delete(old.key(), old.revision)}
		return r.withAssociations(old.key(), old.revision, ops, s.linksOf(func(l link) bool { return l.role == old }), func() ([]byte, error) {
			if len(old.Rules) == 0 {
				return nil, nil
			}
			next := *old
			next.Rules, next.Modified = nil, time.Now().UTC()
			return next.encode()
		})
	})
}

// roleTo returns a role that the caller may change.
func (s sight) roleTo(do access.Capability, name string) (*role, error) {
	t, err := named(access.RoleRule, name)
	if err != nil {
		return nil, err
	}
	r := s.role(t.path.Name())
	if err := s.may(do, t, r != nil); err != nil {
		return nil, err
	}
	if r.declared {
		return nil, readOnly(t)
	}
	return r, nil
}

// Permissions implements Accessor.
func (a *accessor) Permissions(_ context.Context, of access.RuleType, path string) (may []access.Capability, err error) {
	err = a.begin("permissions-read", path).read(func(s sight) error {
		t, err := named(of, path)
		if err == nil {
			may = s.grants.Capabilities(t.of, t.path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return may, nil
}
