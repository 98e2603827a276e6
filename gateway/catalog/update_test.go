package catalog

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/store"
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
func updated[T any](_ T, err error) error { return err }

func TestLinesOfChanges(t *testing.T) {
	t.Parallel()
	t.Run("versions that are written at the same time are those of the log", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.must(r.admin.CreateItem(t.Context(), Item{Name: "item"}, []byte("v")))
		before := r.log.len()
		const callers = 8
		made := make(chan int, callers)
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				version, err := r.admin.SetValue(t.Context(), "item", []byte("v"), -1)
				if err != nil {
					t.Error(err)
				}
				made <- version
			})
		}
		all.Wait()
		close(made)
		lines := r.log.since(before)
		for version := range made {
			if !slices.ContainsFunc(lines, func(e audit.Event) bool { return e.Version == version }) {
				t.Errorf("no line has version %d", version)
			}
		}
	})
	t.Run("a line says what is given", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		ctx := t.Context()
		r.k8s("m")
		var id string
		for _, tt := range []struct {
			do   func() error
			want audit.Event
		}{
			{func() error {
				return r.admin.CreateRole(ctx, Role{Name: "r", Rules: []access.Rule{rule(access.ItemRule, "/a", access.Read)}})
			}, audit.Event{Event: "role-create", Rule: "read item-rule /a"}},
			{func() error {
				return r.admin.SetRule(ctx, "r", rule(access.ItemRule, "/apps/*", access.Read, access.List))
			}, audit.Event{Event: "rule-set", Rule: "read,list item-rule /apps/*"}},
			{func() error { return r.admin.DeleteRule(ctx, "r", access.ItemRule, "/apps/*") }, audit.Event{Event: "rule-delete", Rule: "read,list item-rule /apps/*"}},
			{func() (err error) {
				id, err = r.admin.Associate(ctx, Association{Role: "r", Method: "m", SubClaims: map[string]string{"b": "2", "a": "1"}})
				return err
			}, audit.Event{Event: "role-associate", Role: "r", AuthMethod: "m", SubClaims: "a=1; b=2"}},
			{func() error {
				return r.admin.UpdateAssociation(ctx, id, anewAssociation(map[string]string{"c": "3"}, true))
			}, audit.Event{Event: "association-update", Role: "r", AuthMethod: "m", SubClaims: "c=3"}},
			{func() error { return r.admin.DeleteAssociation(ctx, id) }, audit.Event{Event: "association-delete", Role: "r", AuthMethod: "m", SubClaims: "c=3"}},
			{func() error {
				_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "c", Host: "https://a", Reviewer: ReviewerSelf})
				return err
			}, audit.Event{Event: "auth-config-create", Host: "https://a", Reviewer: "self"}},
			{func() error {
				return updateConfig(ctx, r.admin, "c", AuthConfig{Host: "https://b", Reviewer: ReviewerSelf})
			}, audit.Event{Event: "auth-config-update", Host: "https://b", Reviewer: "self"}},
		} {
			before := r.log.len()
			r.must(tt.do())
			lines := r.log.since(before)
			got := audit.Event{
				Event: lines[0].Event, Rule: lines[0].Rule, Role: lines[0].Role, AuthMethod: lines[0].AuthMethod,
				SubClaims: lines[0].SubClaims, Host: lines[0].Host, Reviewer: lines[0].Reviewer,
			}
			if len(lines) != 1 || got != tt.want {
				t.Errorf("%+v, want %+v", lines, tt.want)
			}
		}
	})
	t.Run("nothing goes that can't be recorded, however much it is", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.k8s("m")
		r.must(r.admin.CreateRole(t.Context(), Role{Name: "r"}))
		const many = store.MaxOps + 10
		for i := range many {
			_, err := r.admin.Associate(t.Context(), Association{Role: "r", Method: "m", SubClaims: map[string]string{"n": strconv.Itoa(i)}})
			r.must(err)
		}
		for name, do := range map[string]func() error{
			"an auth method": func() error { return r.admin.DeleteMethod(t.Context(), "m") },
			"a role":         func() error { return r.admin.DeleteRole(t.Context(), "r") },
		} {
			r.log.fail(true)
			err := do()
			r.log.fail(false)
			// A change that is seen shows whatever went before it.
			r.must(r.admin.CreateRole(t.Context(), Role{Name: "after " + name}))
			if !errors.Is(err, ErrUnrecorded) || r.View().associations.len() != many {
				t.Errorf("deleting %s: %v, and %d associations of %d are left", name, err, r.View().associations.len(), many)
			}
		}
		r.must(r.admin.DeleteMethod(t.Context(), "m"))
		if left := r.View().associations.len(); left != 0 {
			t.Errorf("%d associations outlive their auth method", left)
		}
	})
}
