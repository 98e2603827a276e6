package access

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Policy is a set of roles and associations, ready to be asked. It never
// changes, and is safe for concurrent use. Compile is what makes one; a nil
// Policy grants nothing.
type Policy struct {
	byAccessID map[string][]binding
}

// binding is a role that identities of one auth method may have.
type binding struct {
	role *role
	// when has the conditions of each association: the role is granted if all of
	// one list hold.
	when [][]condition
}

func (b *binding) holds(claims map[string][]string) bool {
	return slices.ContainsFunc(b.when, func(all []condition) bool {
		return !slices.ContainsFunc(all, func(c condition) bool { return !c.holds(claims) })
	})
}

// role holds a role's rules by type.
type role struct {
	rules [countOfTypes]roleRules
}

// roleRules are those that are the same for everybody, and those that depend
// on the identity's claims.
type roleRules struct {
	fixed     ruleset
	templates []template
}

// For resolves an identity: which roles it has, and what {{claim}} means in
// their rules. Grants don't follow later changes of the policy.
func (p *Policy) For(id Identity) Grants {
	var g Grants
	if p == nil {
		return g
	}
	bindings := p.byAccessID[id.AccessID]
	for i := range bindings {
		if !bindings[i].holds(id.SubClaims) {
			continue
		}
		for t := range bindings[i].role.rules {
			g.rules[t] = bindings[i].role.rules[t].appendTo(g.rules[t], id.SubClaims)
		}
	}
	return g
}

func (r *roleRules) appendTo(sets []*ruleset, claims map[string][]string) []*ruleset {
	if !r.fixed.empty() {
		sets = append(sets, &r.fixed)
	}
	var resolved ruleset
	for i := range r.templates {
		if rule, ok := r.templates[i].resolve(claims); ok {
			resolved.add(rule)
		}
	}
	if !resolved.empty() {
		sets = append(sets, &resolved)
	}
	return sets
}

// Compile makes a policy. Its error holds every mistake in the objects, each
// with the path of its field, as roles[0].rules[2].path; it unwraps to
// field.Errors.
func Compile(o Objects) (*Policy, error) {
	var errs field.ErrorList
	roles := make(map[string]*role, len(o.Roles))
	for i := range o.Roles {
		path := field.NewPath("roles").Index(i)
		name, invalid := checkName(path.Child("name"), o.Roles[i].Name)
		if invalid == nil && roles[name] != nil {
			invalid = field.ErrorList{field.Duplicate(path.Child("name"), o.Roles[i].Name)}
		}
		compiled, more := o.Roles[i].compile(path)
		errs = append(append(errs, invalid...), more...)
		if invalid == nil {
			roles[name] = compiled
		}
	}
	p := &Policy{byAccessID: map[string][]binding{}}
	for i := range o.Associations {
		path := field.NewPath("associations").Index(i)
		a := &o.Associations[i]
		when, invalid := a.compile(path)
		errs = append(errs, invalid...)
		role := roles[trimmed(a.Role)]
		if role == nil {
			if a.Role != "" {
				errs = append(errs, field.NotFound(path.Child("role"), shorten(a.Role)))
			}
			continue
		}
		p.bind(a.AccessID, role, when)
	}
	if len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return p, nil
}

func (p *Policy) bind(accessID string, r *role, when []condition) {
	bindings := p.byAccessID[accessID]
	i := slices.IndexFunc(bindings, func(b binding) bool { return b.role == r })
	if i < 0 {
		p.byAccessID[accessID] = append(bindings, binding{role: r, when: [][]condition{when}})
		return
	}
	bindings[i].when = append(bindings[i].when, when)
}

// Validate says what is wrong with a rule; path is where it stands.
func (r *Rule) Validate(path *field.Path) field.ErrorList {
	_, errs := r.compile(path)
	return errs
}

// Validate says what is wrong with an association; path is where it stands.
// Whether the role exists is Compile's to say.
func (a *Association) Validate(path *field.Path) field.ErrorList {
	_, errs := a.compile(path)
	return errs
}

func (r *Role) compile(path *field.Path) (*role, field.ErrorList) {
	var errs field.ErrorList
	compiled := &role{}
	type key struct {
		of   RuleType
		path string
	}
	seen := map[key]bool{}
	for i := range r.Rules {
		rule := &r.Rules[i]
		path := path.Child("rules").Index(i)
		t, invalid := rule.compile(path)
		if invalid != nil {
			errs = append(errs, invalid...)
			continue
		}
		k := key{rule.Type, trimmed(rule.Path)}
		if seen[k] {
			errs = append(errs, field.Duplicate(path.Child("path"), rule.Path))
			continue
		}
		seen[k] = true
		of, _ := rule.Type.index()
		compiled.rules[of].add(t)
	}
	return compiled, errs
}

func (r *roleRules) add(t template) {
	if t.depends() {
		r.templates = append(r.templates, t)
		return
	}
	r.fixed.add(rule{pattern: newPattern(t.parts), can: t.can})
}

func (r *Rule) compile(path *field.Path) (template, field.ErrorList) {
	var errs field.ErrorList
	var t template
	if _, ok := r.Type.index(); !ok {
		errs = append(errs, field.NotSupported(path.Child("type"), RuleType(shorten(string(r.Type))), ruleTypes()))
	}
	if len(r.Capabilities) == 0 {
		errs = append(errs, field.Required(path.Child("capabilities"), "say what the rule gives, or deny"))
	}
	for i, c := range r.Capabilities {
		if c.set() == 0 {
			errs = append(errs, field.NotSupported(path.Child("capabilities").Index(i), Capability(shorten(string(c))), capabilities()))
		}
		t.can |= c.set() | listing
	}
	if t.can&denied != 0 {
		t.can = denied
	}
	var problem string
	switch t.parts, problem = parsePattern(r.Path); {
	case r.Path == "":
		errs = append(errs, field.Required(path.Child("path"), "say what the rule is about; /* is everything"))
	case problem != "":
		errs = append(errs, field.Invalid(path.Child("path"), shorten(r.Path), problem))
	}
	return t, errs
}

func (a *Association) compile(path *field.Path) ([]condition, field.ErrorList) {
	var errs field.ErrorList
	if a.Role == "" {
		errs = append(errs, field.Required(path.Child("role"), "name the role"))
	}
	if a.AccessID == "" {
		errs = append(errs, field.Required(path.Child("accessID"), "name the auth method by its access id"))
	}
	when, invalid := a.conditions(path.Child("subClaims"))
	return when, append(errs, invalid...)
}

func checkName(path *field.Path, name string) (string, field.ErrorList) {
	if name == "" {
		return "", field.ErrorList{field.Required(path, "choose a name")}
	}
	p, err := ParsePath(name)
	if err != nil {
		return "", field.ErrorList{field.Invalid(path, shorten(name), err.Error())}
	}
	return p.Name(), nil
}
