package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
)

// model is what the catalog should hold, in the simplest way.
type model struct {
	items   map[string][]string            // values by name
	roles   map[string]map[string]string   // capabilities by rule
	methods map[string]string              // audience by name
	links   map[string]map[string][]string // by role: by method: association ids
}

// step is one operation on the catalog and the model. It returns both errors; the
// model's is a sentinel or nil.
type step func(ctx context.Context, as Accessor, m *model, pick func() string) (got, want error)

func steps() []step {
	return []step{
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name, value := pick(), pick()
			got := as.CreateItem(ctx, Item{Name: name}, []byte(value))
			if m.items[name] != nil {
				return got, ErrExists
			}
			m.items[name] = []string{value}
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name, value := pick(), pick()
			version, got := as.SetValue(ctx, name, []byte(value), -1)
			if m.items[name] == nil {
				return got, ErrNotFound
			}
			m.items[name] = append(m.items[name], value)
			if version != len(m.items[name]) {
				got = fmt.Errorf("version %d: %w", version, got)
			}
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			from, to := pick(), pick()
			got := as.UpdateItem(ctx, from, anewItem(to, "", nil))
			switch {
			case m.items[from] == nil:
				return got, ErrNotFound
			case from != to && m.items[to] != nil:
				return got, ErrExists
			case from != to:
				m.items[to] = m.items[from]
				delete(m.items, from)
			}
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name := pick()
			got := as.DeleteItem(ctx, name)
			if m.items[name] == nil {
				return got, ErrNotFound
			}
			delete(m.items, name)
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name := pick()
			value, number, got := as.Value(ctx, name, 0)
			values := m.items[name]
			if values == nil {
				return got, ErrNotFound
			}
			if string(value) != values[len(values)-1] || number != len(values) {
				got = fmt.Errorf("value %q of version %d, want %q of %d: %w", value, number, values[len(values)-1], len(values), got)
			}
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name := pick()
			got := as.CreateRole(ctx, Role{Name: name})
			if m.roles[name] != nil {
				return got, ErrExists
			}
			m.roles[name] = map[string]string{}
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			from, to := pick(), pick()
			got := as.UpdateRole(ctx, from, anewRole(to, ""))
			switch {
			case m.roles[from] == nil:
				return got, ErrNotFound
			case from != to && m.roles[to] != nil:
				return got, ErrExists
			case from != to:
				m.roles[to], m.links[to] = m.roles[from], m.links[from]
				delete(m.roles, from)
				delete(m.links, from)
			}
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name := pick()
			got := as.DeleteRole(ctx, name)
			if m.roles[name] == nil {
				return got, ErrNotFound
			}
			delete(m.roles, name)
			delete(m.links, name)
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name, path := pick(), "/"+pick()
			may := []access.Capability{access.Read, access.Update, access.Deny}[len(pick())%3]
			got := as.SetRule(ctx, name, rule(access.ItemRule, path, may))
			if m.roles[name] == nil {
				return got, ErrNotFound
			}
			m.roles[name][path] = string(may)
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name, path := pick(), "/"+pick()
			got := as.DeleteRule(ctx, name, access.ItemRule, path)
			if m.roles[name] == nil || m.roles[name][path] == "" {
				return got, ErrNotFound
			}
			delete(m.roles[name], path)
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name := pick()
			_, got := as.CreateMethod(ctx, Method{Name: name, Type: TypeK8s})
			if _, ok := m.methods[name]; ok {
				return got, ErrExists
			}
			m.methods[name] = ""
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			from, to, audience := pick(), pick(), pick()
			got := as.UpdateMethod(ctx, from, anewMethod(Method{Name: to, Audience: audience}))
			_, there := m.methods[from]
			_, taken := m.methods[to]
			switch {
			case !there:
				return got, ErrNotFound
			case from != to && taken:
				return got, ErrExists
			case from != to:
				delete(m.methods, from)
				for _, by := range m.links {
					if ids, ok := by[from]; ok {
						by[to] = ids
						delete(by, from)
					}
				}
			}
			m.methods[to] = audience
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			name := pick()
			got := as.DeleteMethod(ctx, name)
			if _, ok := m.methods[name]; !ok {
				return got, ErrNotFound
			}
			delete(m.methods, name)
			for _, by := range m.links {
				delete(by, name)
			}
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			role, method := pick(), pick()
			id, got := as.Associate(ctx, Association{Role: role, Method: method})
			_, ok := m.methods[method]
			if m.roles[role] == nil || !ok {
				return got, ErrNotFound
			}
			if len(m.links[role][method]) > 0 {
				return got, ErrExists
			}
			if m.links[role] == nil {
				m.links[role] = map[string][]string{}
			}
			m.links[role][method] = []string{id}
			return got, nil
		},
		func(ctx context.Context, as Accessor, m *model, pick func() string) (error, error) {
			role, method := pick(), pick()
			ids := m.links[role][method]
			if len(ids) == 0 {
				return as.DeleteAssociation(ctx, "ass-none"), ErrNotFound
			}
			delete(m.links[role], method)
			return as.DeleteAssociation(ctx, ids[0]), nil
		},
	}
}

// describe tells what a catalog holds, in the model's terms.
func describe(t *testing.T, as Accessor) (items, roles, methods []string) {
	t.Helper()
	ctx := t.Context()
	all, _, _, err := as.ListItems(ctx, "/", Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		value, _, err := as.Value(ctx, i.Name, 0)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, fmt.Sprint(strings.TrimPrefix(i.Name, "/"), i.Latest(), string(value)))
	}
	found, _, err := as.ListRoles(ctx, Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range found {
		if r.Name == administratorRole {
			continue
		}
		r, err := as.Role(ctx, r.Name)
		if err != nil {
			t.Fatal(err)
		}
		rules, to := map[string]string{}, []string{}
		for _, rl := range r.Rules {
			rules[rl.Path] = string(rl.Capabilities[0])
		}
		for _, a := range r.Associations {
			to = append(to, a.Method)
		}
		slices.Sort(to)
		roles = append(roles, fmt.Sprint(r.Name, rules, to))
	}
	some, _, err := as.ListMethods(ctx, Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range some {
		if m.Name != administratorMethod {
			methods = append(methods, fmt.Sprint(m.Name, m.Audience))
		}
	}
	return items, roles, methods
}

func (m *model) describe() (items, roles, methods []string) {
	for _, name := range slices.Sorted(maps.Keys(m.items)) {
		values := m.items[name]
		items = append(items, fmt.Sprint(name, len(values), values[len(values)-1]))
	}
	for _, name := range slices.Sorted(maps.Keys(m.roles)) {
		to := slices.Sorted(maps.Keys(m.links[name]))
		if to == nil {
			to = []string{}
		}
		roles = append(roles, fmt.Sprint(name, m.roles[name], to))
	}
	for _, name := range slices.Sorted(maps.Keys(m.methods)) {
		methods = append(methods, fmt.Sprint(name, m.methods[name]))
	}
	return items, roles, methods
}

func TestCatalogIsTheModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			second, _ := start(t, r.options)
			m := &model{map[string][]string{}, map[string]map[string]string{}, map[string]string{}, map[string]map[string][]string{}}
			random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // to be repeated
			pick := func() string {
				return []string{"a", "b", "a/b", "a b", "ü", "a/c/d"}[random.IntN(6)]
			}
			all := steps()
			for n := range 400 {
				i := random.IntN(len(all))
				got, want := all[i](t.Context(), r.admin, m, pick)
				if !errors.Is(got, want) || (got == nil) != (want == nil) {
					t.Fatalf("step %d, operation %d: %v, the model has %v", n, i, got, want)
				}
			}
			items, roles, methods := m.describe()
			want := fmt.Sprint(items, roles, methods)
			items, roles, methods = describe(t, r.admin)
			if got := fmt.Sprint(items, roles, methods); got != want {
				t.Errorf("the catalog has\n%s\nthe model\n%s", got, want)
			}
			until(t, "another gateway to have the same", func() bool {
				items, roles, methods := describe(t, second.As(r.root))
				return fmt.Sprint(items, roles, methods) == want
			})
		})
	}
}
