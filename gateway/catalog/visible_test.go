package catalog

import (
	"errors"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
)

func TestNamesHoldNothingThatCanNotBeSeen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	id := r.k8s("method")
	r.must(r.admin.CreateRole(ctx, Role{Name: "role"}))
	r.must(r.admin.CreateItem(ctx, Item{Name: "/item"}, []byte("x")))
	_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "config", AccessID: id, Reviewer: ReviewerSelf})
	r.must(err)
	for _, hidden := range []string{"\ufe0f", "\u3164", "\u034f", "\u2800", "\u115f", "\U000e0100", "\u200b"} {
		name := "x" + hidden
		for what, do := range map[string]func() error{
			"a new item": func() error { return r.admin.CreateItem(ctx, Item{Name: name}, nil) },
			"an item's new name": func() error {
				return r.admin.UpdateItem(ctx, "item", func(i *Item) error { i.Name = name; return nil })
			},
			"an item's tag": func() error {
				return r.admin.UpdateItem(ctx, "item", func(i *Item) error { i.Tags = []string{name}; return nil })
			},
			"a new role": func() error { return r.admin.CreateRole(ctx, Role{Name: name}) },
			"a role's new name": func() error {
				return r.admin.UpdateRole(ctx, "role", func(r *Role) error { r.Name = name; return nil })
			},
			"a rule's path": func() error {
				return r.admin.SetRule(ctx, "role", access.Rule{Type: access.ItemRule, Path: "/" + name + "/*", Capabilities: []access.Capability{access.Read}})
			},
			"a new auth method": func() error { _, err := r.admin.CreateMethod(ctx, Method{Name: name, Type: TypeK8s}); return err },
			"a method's new name": func() error {
				return r.admin.UpdateMethod(ctx, "method", func(m *Method) error { m.Name = name; return nil })
			},
			"a method's audience": func() error {
				return r.admin.UpdateMethod(ctx, "method", func(m *Method) error { m.Audience = name; return nil })
			},
			"a new auth config": func() error {
				_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: name, AccessID: id, Reviewer: ReviewerSelf})
				return err
			},
			"a mount's auth config": func() error {
				_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: name, Reviewer: ReviewerSelf})
				return err
			},
			"a config's new name": func() error {
				_, err := r.admin.UpdateAuthConfig(ctx, "config", func(c *AuthConfig) error { c.Name = name; return nil })
				return err
			},
			"a sub-claim's name": func() error {
				_, err := r.admin.Associate(ctx, Association{Role: "role", Method: "method", SubClaims: map[string]string{name: "a"}})
				return err
			},
			"a sub-claim's value": func() error {
				_, err := r.admin.Associate(ctx, Association{Role: "role", Method: "method", SubClaims: map[string]string{"namespace": name}})
				return err
			},
		} {
			if err := do(); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s with %+q: %v", what, hidden, err)
			}
		}
	}
}
