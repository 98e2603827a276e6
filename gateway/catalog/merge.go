package catalog

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// The lists of what the store and the configuration file have together, in the
// order of names.

func (v *View) allMethods() []*method {
	return merged(v.methods.all(), v.file.methods, func(m *method) bool { return !v.file.hidesMethod(m) })
}

func (v *View) allConfigs() []*authConfig {
	return merged(v.configs.all(), v.file.configs, func(*authConfig) bool { return true })
}

func (v *View) allRoles() []*role {
	own := maps.Clone(v.file.roles)
	own[administratorRole] = builtIn()
	return merged(v.roles.all(), own, func(*role) bool { return true })
}

// merged puts the file's objects among the store's, whose namesakes they hide.
func merged[T any](stored iter.Seq2[string, T], declared map[string]T, visible func(T) bool) []T {
	byName := map[string]T{}
	var names []string
	for name, v := range stored {
		if _, hidden := declared[name]; !hidden && visible(v) {
			byName[name] = v
			names = append(names, name)
		}
	}
	for name, v := range declared {
		byName[name] = v
		names = append(names, name)
	}
	slices.Sort(names)
	all := make([]T, 0, len(names))
	for _, name := range names {
		all = append(all, byName[name])
	}
	return all
}

// link is an association with what it connects.
type link struct {
	*association
	role   *role
	method *method
}

// links yields the associations whose role and auth method exist.
func (v *View) links() iter.Seq[link] {
	return func(yield func(link) bool) {
		if a := v.builtInAssociation(); a != nil {
			if _, r, m := v.association(a.id); r != nil && !yield(link{a, r, m}) {
				return
			}
		}
		for _, id := range slices.Sorted(maps.Keys(v.file.associations)) {
			if a, r, m := v.association(id); a != nil && !yield(link{a, r, m}) {
				return
			}
		}
		for id := range v.associations.all() {
			if a, r, m := v.association(id); a != nil && !yield(link{a, r, m}) {
				return
			}
		}
	}
}

func (l link) tell() Association {
	return Association{
		ID:            l.id,
		Role:          l.role.name,
		Method:        l.method.name,
		AccessID:      l.AccessID,
		SubClaims:     maps.Clone(l.SubClaims),
		CaseSensitive: l.CaseSensitive,
		FromFile:      l.declared,
		Created:       l.Created,
	}
}

// linksOf returns the associations that a test picks.
func (v *View) linksOf(pick func(link) bool) []link {
	var found []link
	for l := range v.links() {
		if pick(l) {
			found = append(found, l)
		}
	}
	return found
}

// page cuts a sorted list: what follows a name, up to a limit.
func page[T any](all []T, p Page, name func(T) string) (part []T, next string) {
	first, found := slices.BinarySearchFunc(all, p.After, func(v T, after string) int { return strings.Compare(name(v), after) })
	if found {
		first++
	}
	all = all[first:]
	if p.Limit <= 0 || len(all) <= p.Limit {
		return all, ""
	}
	return all[:p.Limit], name(all[p.Limit-1])
}
