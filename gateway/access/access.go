// Package access decides who may do what: it holds roles and their rules, and
// answers whether a logged-in identity has a capability on a path.
//
// Compile checks the objects once and makes an immutable Policy of them.
// Policy.For resolves an identity to its Grants, and Grants answer without
// looking at claims again:
//
//	policy, err := access.Compile(access.Objects{Roles: roles, Associations: associations})
//	…
//	grants := policy.For(access.Identity{AccessID: id, SubClaims: claims})
//	path, err := access.ParsePath("/apps/web/password")
//	…
//	if !grants.Allow(access.Read, access.ItemRule, path) { … }
//
// What is not allowed is refused, and deny beats everything. It is pure: no
// network, no clock, no storage. docs/access.md tells administrators the same.
package access

// Capability is something that a rule lets an identity do, or that it denies,
// by its name in the API.
type Capability string

// The capabilities. Each but Deny implies List on the same path.
const (
	Read   Capability = "read"
	Create Capability = "create"
	Update Capability = "update"
	Delete Capability = "delete"
	List   Capability = "list"
	// Deny takes every capability away, whichever rule of whichever role gave it.
	Deny Capability = "deny"
)

// capabilities are all of them, in the order in which they are told.
func capabilities() []Capability {
	return []Capability{Read, Create, Update, Delete, List, Deny}
}

// set is a set of capabilities.
type set uint8

const (
	reading set = 1 << iota
	creating
	updating
	deleting
	listing
	denied

	everything = reading | creating | updating | deleting | listing
)

// set is the capability alone, and empty for a word that is none.
func (c Capability) set() set {
	switch c {
	case Read:
		return reading
	case Create:
		return creating
	case Update:
		return updating
	case Delete:
		return deleting
	case List:
		return listing
	case Deny:
		return denied
	}
	return 0
}

// RuleType says what kind of object a rule's path names. Its values are the
// API's. That API has more of them (target-rule, search-rule, reports-rule,
// gw-reports-rule, sra-reports-rule, sra-rule); they belong to features that
// the gateway doesn't have, so they are refused rather than kept without effect.
type RuleType string

// The rule types.
const (
	ItemRule       RuleType = "item-rule"
	RoleRule       RuleType = "role-rule"
	AuthMethodRule RuleType = "auth-method-rule"
)

// ruleTypes are all of them; index gives a type's place.
func ruleTypes() []RuleType { return []RuleType{ItemRule, RoleRule, AuthMethodRule} }

const countOfTypes = 3

func (t RuleType) index() (int, bool) {
	switch t {
	case ItemRule:
		return 0, true
	case RoleRule:
		return 1, true
	case AuthMethodRule:
		return 2, true
	}
	return 0, false
}

// Objects are what a policy is made of.
type Objects struct {
	// Roles have distinct names.
	Roles []Role
	// Associations give roles to those who logged in. A role may have several.
	Associations []Association
}

// Role is a named list of rules.
type Role struct {
	// Name is a path, see ParsePath: role-rules are about it.
	Name string
	// Rules have distinct pairs of type and path. Their order means nothing.
	Rules []Rule
}

// Rule gives or denies capabilities on the objects of one type whose path
// matches.
type Rule struct {
	Type RuleType
	// Path is a path as ParsePath takes it, in which * stands for any text, also
	// none and also slashes, + for any text inside one segment, and {{claim}}
	// for a value of the identity's sub-claim of that name. A segment with a
	// {{claim}} holds nothing else but fixed text.
	Path string
	// Capabilities are at least one. With Deny, the others mean nothing.
	Capabilities []Capability
}

// Association gives a role to the identities of an auth method.
type Association struct {
	// Role is the name of one of the roles.
	Role string
	// AccessID is the auth method's.
	AccessID string
	// SubClaims are conditions, all of which must hold: by the name of a
	// sub-claim, patterns with commas between them, in which * stands for any
	// text and ? for one character. One value of the claim must match one
	// pattern. None is no condition.
	SubClaims map[string]string
	// IgnoreCase compares the values without regard to the case of the letters
	// a to z. Other letters fold in ways that make distinct names equal (the
	// Kelvin sign is a k), so their case always counts.
	IgnoreCase bool
}

// Identity is who logged in: what the session says.
type Identity struct {
	AccessID string
	// SubClaims are not trusted to be well-formed: a value may hold anything.
	SubClaims map[string][]string
}
