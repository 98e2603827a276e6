package catalog

import (
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
)

// What several callers change at the same time, each in a part of its own, ends up
// with all of it.
func TestUpdatesAtTheSameTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.must(r.admin.CreateItem(ctx, Item{Name: "item"}, []byte("v")))
	r.must(r.admin.CreateRole(ctx, Role{Name: "role"}))
	id := r.k8s("method")
	_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "config", AccessID: id, Host: "https://a", Reviewer: ReviewerSelf})
	r.must(err)
	const callers = 8
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			part := strconv.Itoa(i)
			for name, err := range map[string]error{
				"an item": r.admin.UpdateItem(ctx, "item", func(i *Item) error {
					i.Tags = append(i.Tags, part)
					return nil
				}),
				"a role": r.admin.UpdateRole(ctx, "role", func(r *Role) error {
					r.Description += part
					return nil
				}),
				"an auth method": r.admin.UpdateMethod(ctx, "method", func(m *Method) error {
					m.Namespaces = append(m.Namespaces, part)
					return nil
				}),
				"an auth config": updated(r.admin.UpdateAuthConfig(ctx, "config", func(c *AuthConfig) error {
					c.Issuer += part
					return nil
				})),
				"the rules of a role": r.admin.SetRule(ctx, "role", rule(access.ItemRule, "/"+part, access.Read)),
			} {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	all.Wait()
	item, err := r.admin.Item(ctx, "item")
	r.must(err)
	role, err := r.admin.Role(ctx, "role")
	r.must(err)
	method, _, err := r.admin.Method(ctx, "method")
	r.must(err)
	config, err := r.admin.AuthConfig(ctx, "config")
	r.must(err)
	for i := range callers {
		part := strconv.Itoa(i)
		for name, has := range map[string]bool{
			"the item":        slices.Contains(item.Tags, part),
			"the role":        slices.Contains([]byte(role.Description), part[0]),
			"the auth method": slices.Contains(method.Namespaces, part),
			"the auth config": slices.Contains([]byte(config.Issuer), part[0]),
		} {
			if !has {
				t.Errorf("%s lost the change of caller %s", name, part)
			}
		}
	}
	if len(role.Rules) != callers {
		t.Errorf("%d rules, want %d", len(role.Rules), callers)
	}
}

// updated is how a change of an auth config ended.
func updated(_ AuthConfig, err error) error { return err }
