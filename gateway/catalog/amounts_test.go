package catalog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
)

// subsets are all sets of capabilities, but for those that deny.
func subsets() [][]access.Capability {
	all := []access.Capability{access.Read, access.Create, access.Update, access.Delete, access.List}
	var sets [][]access.Capability
	for bits := range 1 << len(all) {
		var set []access.Capability
		for i, c := range all {
			if bits>>i&1 == 1 {
				set = append(set, c)
			}
		}
		if len(set) > 0 {
			sets = append(sets, set)
		}
	}
	return sets
}

const (
	needle    = "needle"
	victimOf  = "victim/"
	intruders = "own/"
)

// intrusions are what somebody may try with items. Names are of the victim's folder, or of
// one where whoever tries may do everything.
func intrusions(ctx context.Context, as Accessor, pick func() string) []func() error {
	return []func() error{
		func() error { return as.CreateItem(ctx, Item{Name: pick(), Tags: []string{"own"}}, []byte("own")) },
		func() error { _, err := as.SetValue(ctx, pick(), []byte("own"), -1); return err },
		func() error { return as.UpdateItem(ctx, pick(), anewItem(pick(), "own", []string{"own"})) },
		func() error {
			return as.UpdateItem(ctx, pick(), func(i *Item) error { i.Name = pick(); return nil })
		},
		func() error { return as.DeleteItem(ctx, pick()) },
	}
}

// Whatever somebody does with some capabilities on items, in whatever order, and with all
// of them on a folder of their own: it amounts to none that they have not got.
func TestCapabilitiesOnItemsDoNotAmountToOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	for n, may := range subsets() {
		folder := fmt.Sprintf("%d/", n)
		has := func(c access.Capability) bool { return slices.Contains(may, c) }
		as := r.with(fmt.Sprintf("intruder-%d", n), rule(access.ItemRule, "/"+folder+victimOf+"*", may...),
			rule(access.ItemRule, "/"+folder+intruders+"*", access.Read, access.Create, access.Update, access.Delete))
		before := map[string]item{}
		for i := range 3 {
			name := fmt.Sprintf("%s%s%d", folder, victimOf, i)
			r.must(r.admin.CreateItem(ctx, Item{Name: name, Description: needle, Tags: []string{needle}}, []byte(needle)))
			before[name] = *mustItem(t, r, name)
		}
		chance := rand.New(rand.NewPCG(1, uint64(n))) //nolint:gosec // to be repeated
		pick := func() string {
			return fmt.Sprintf("%s%s%d", folder, []string{victimOf, intruders}[chance.IntN(2)], chance.IntN(5))
		}
		for range 60 {
			tries := intrusions(ctx, as, pick)
			_ = tries[chance.IntN(len(tries))]() // most are refused
			name := pick()
			value, _, err := as.Value(ctx, name, -chance.IntN(3))
			if err == nil && string(value) == needle && !has(access.Read) {
				t.Fatalf("%v amounts to read: %s", may, name)
			}
		}
		if listed := r.told(as, folder); strings.Contains(listed, needle) && !has(access.Read) {
			t.Errorf("%v amounts to read: %s", may, listed)
		}
		for name, was := range before {
			now, there := r.View().items.get(name)
			switch {
			case (!there || now.id != was.id) && !has(access.Delete):
				t.Errorf("%v amounts to delete: %s", may, name)
			case there && now.id == was.id && (now.latest() != was.latest() || now.description != was.description) && !has(access.Update):
				t.Errorf("%v amounts to update: %s", may, name)
			}
		}
		for name := range r.View().items.from(folder + victimOf) {
			if _, there := before[name]; !there && strings.HasPrefix(name, folder+victimOf) && !has(access.Create) {
				t.Errorf("%v amounts to create: %s", may, name)
			}
		}
	}
}

// told is all that lists tell somebody of a folder.
func (r *rig) told(as Accessor, folder string) string {
	r.t.Helper()
	items, folders, _, err := as.ListItems(r.t.Context(), folder, Page{})
	r.must(err)
	return fmt.Sprintf("%+v %v", items, folders)
}

func TestANewNameTakesWhatItAmountsTo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	full := []access.Capability{access.Read, access.Create, access.Update, access.Delete}
	for _, tt := range []struct {
		kind   access.RuleType
		create func(string) error
		rename func(as Accessor, from, to string) error
	}{
		{access.ItemRule, func(name string) error { return r.admin.CreateItem(ctx, Item{Name: name}, nil) },
			func(as Accessor, from, to string) error {
				return as.UpdateItem(ctx, from, func(i *Item) error { i.Name = to; return nil })
			}},
		{access.RoleRule, func(name string) error { return r.admin.CreateRole(ctx, Role{Name: name}) },
			func(as Accessor, from, to string) error {
				return as.UpdateRole(ctx, from, func(r *Role) error { r.Name = to; return nil })
			}},
		{access.AuthMethodRule, func(name string) error { return updated(r.admin.CreateMethod(ctx, Method{Name: name, Type: TypeK8s})) },
			func(as Accessor, from, to string) error {
				return as.UpdateMethod(ctx, from, func(m *Method) error { m.Name = to; return nil })
			}},
	} {
		for n, may := range subsets() {
			from, to := fmt.Sprintf("from/%d", n), fmt.Sprintf("to/%d", n)
			r.must(tt.create(from))
			as := r.with(fmt.Sprintf("%s/%d", tt.kind, n), rule(tt.kind, "/"+from, may...), rule(tt.kind, "/"+to, full...))
			allowed := slices.Contains(may, access.Read) && slices.Contains(may, access.Update) && slices.Contains(may, access.Delete)
			err := tt.rename(as, from, to)
			if allowed && err != nil || !allowed && !errors.Is(err, ErrDenied) {
				t.Errorf("%s with %v: %v", tt.kind, may, err)
			}
		}
	}
}
