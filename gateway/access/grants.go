package access

import (
	"slices"
	"strings"
)

// Grants are what one identity may do: the rules of its roles. They never
// change, and are safe for concurrent use. The zero value allows nothing.
type Grants struct {
	rules [countOfTypes][]*ruleset
}

// Allow says whether the identity has a capability on the object of a type
// and name. It does not say whether there is such an object. It does not
// allocate.
func (g Grants) Allow(c Capability, of RuleType, path Path) bool {
	want := c.set()
	return want&everything != 0 && g.effective(want, of, path) == want
}

// MayKnow says whether the identity may learn that there is an object of a
// type and name, or that there is none: whether it may list it. Asked for what
// does not exist, the API answers 404 to those who may know and 401 to all
// others, and it answers the others 401 also if it exists.
func (g Grants) MayKnow(of RuleType, path Path) bool { return g.Allow(List, of, path) }

// Capabilities are all that the identity has on an object, in a fixed order:
// Deny alone if a rule denies it, and none if no rule is about it.
func (g Grants) Capabilities(of RuleType, path Path) []Capability {
	got := g.effective(everything, of, path)
	return slices.DeleteFunc(capabilities(), func(c Capability) bool { return got&c.set() == 0 })
}

// effective is what there is of the wanted capabilities; or denied.
func (g Grants) effective(want set, of RuleType, path Path) set {
	t, ok := of.index()
	if !ok || path.name == "" {
		return 0
	}
	var got set
	for _, s := range g.rules[t] {
		got |= s.exact[path.name]
		if got&denied != 0 || s.denies(path.name) {
			return denied
		}
	}
	for _, s := range g.rules[t] {
		for i := range s.allow {
			if got&want == want {
				return want
			}
			if r := &s.allow[i]; r.can&want&^got != 0 && r.match(path.name) {
				got |= r.can
			}
		}
	}
	return got & want
}

// ruleset is a list of rules of one type, arranged for asking.
type ruleset struct {
	// exact has the rules whose path is a name.
	exact       map[string]set
	allow, deny []rule
}

// rule gives capabilities on the paths that match, or denies them.
type rule struct {
	pattern
	can set
}

func (s *ruleset) empty() bool { return len(s.exact)+len(s.allow)+len(s.deny) == 0 }

func (s *ruleset) add(r rule) {
	switch {
	case r.exact():
		if s.exact == nil {
			s.exact = map[string]set{}
		}
		s.exact[r.prefix] |= r.can
	case r.can == denied:
		s.deny = append(s.deny, r)
	default:
		s.allow = append(s.allow, r)
	}
}

func (s *ruleset) denies(name string) bool {
	for i := range s.deny {
		if s.deny[i].match(name) {
			return true
		}
	}
	return false
}

// template is a rule before the identity is known.
type template struct {
	parts []part
	can   set
}

func (t *template) depends() bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.kind == claim })
}

// resolve puts the identity's claims in. A value stands for itself, whatever
// it holds: one that could not be a segment of a path is never put in.
//
// A rule that gives something then applies to the other values only, and to
// nothing if there are none. One that denies applies to every segment: who
// comes without the claim, or with a strange one, must not escape it.
func (t *template) resolve(claims map[string][]string) (rule, bool) {
	parts := make([]part, 0, len(t.parts))
	for _, p := range t.parts {
		if p.kind != claim {
			parts = append(parts, p)
			continue
		}
		values, all := usable(claims[p.name])
		switch {
		case t.can == denied && !all:
			parts = append(parts, part{text: p.before}, part{kind: within}, part{text: p.after})
		case len(values) == 0:
			return rule{}, false
		default:
			parts = append(parts, p.with(values))
		}
	}
	return rule{pattern: newPattern(parts), can: t.can}, true
}

// usable returns the values that may stand in a path, and whether these are
// all there are, and any.
func usable(values []string) ([]string, bool) {
	good := make([]string, 0, len(values))
	for _, v := range values {
		if len(v) <= MaxValue && !strings.ContainsAny(v, "/*+{}") && checkSegment(v) == "" {
			good = append(good, v)
		}
	}
	return good, len(good) > 0 && len(good) == len(values)
}

// with makes a claim's part match the segments that the values give.
func (p part) with(values []string) part {
	if len(values) == 1 {
		return part{text: p.before + values[0] + p.after}
	}
	segments := make([]string, 0, len(values))
	for _, v := range values {
		segments = append(segments, p.before+v+p.after)
	}
	slices.Sort(segments)
	return part{kind: oneOf, values: segments}
}
