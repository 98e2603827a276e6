package catalog

import (
	"log/slog"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gatepass/gatepass/gateway/access"
)

const (
	// administratorRole may do everything. It is built in, and given to the
	// administrator's auth method.
	administratorRole        = "admin"
	administratorAssociation = "admin"
	// administratorMethod is the name of the administrator's auth method.
	administratorMethod = "admin"
)

// declaredPrefix marks the id of a role that is not in the store: its name
// follows. The ids of roles in the store have no colon.
const declaredPrefix = "declared:"

func declaredRole(id string) (name string, ok bool) { return strings.CutPrefix(id, declaredPrefix) }

// builtIn is the role of the administrator.
func builtIn() *role {
	everything := []access.Capability{access.Read, access.Create, access.Update, access.Delete, access.List}
	r := &role{name: administratorRole, declared: true}
	r.ID = declaredPrefix + administratorRole
	r.Description = "May do everything. Built in."
	for _, t := range []access.RuleType{access.ItemRule, access.RoleRule, access.AuthMethodRule} {
		r.Rules = append(r.Rules, ruleRecord{t, "/*", everything})
	}
	return r
}

// builtInAssociation gives the role to the administrator's auth method; nil if
// there is none.
func (v *View) builtInAssociation() *association {
	if v.administrator == "" {
		return nil
	}
	a := &association{id: administratorAssociation, declared: true}
	a.Role, a.AccessID, a.CaseSensitive = declaredPrefix+administratorRole, v.administrator, true
	return a
}

// compiled returns what compiles the view's roles when somebody asks for them. It
// holds on to no items.
func (v *View) compiled(log *slog.Logger) func() *access.Policy {
	roles := &View{
		methods: v.methods, methodIDs: v.methodIDs, roles: v.roles, roleIDs: v.roleIDs,
		associations: v.associations, administrator: v.administrator, file: v.file,
	}
	return sync.OnceValue(func() *access.Policy { return roles.compile(log) })
}

func (v *View) compile(log *slog.Logger) *access.Policy {
	var o access.Objects
	for _, r := range v.allRoles() {
		o.Roles = append(o.Roles, r.compilable(log))
	}
	for l := range v.links() {
		a := access.Association{Role: l.role.name, AccessID: l.AccessID, SubClaims: l.SubClaims, IgnoreCase: !l.CaseSensitive}
		if err := a.Validate(field.NewPath("association")).ToAggregate(); err != nil {
			log.Error("an association can't be read and gives nothing; a later version of the gateway may have made it", "id", l.id, "error", err)
			continue
		}
		o.Associations = append(o.Associations, a)
	}
	policy, err := access.Compile(o)
	if err != nil {
		log.Error("roles can't be used; nobody is allowed anything", "error", err)
		return nil
	}
	return policy
}

// compilable is the role, or one that denies everything if it can't be
// understood: a rule that is left out may be one that denies.
func (r *role) compilable(log *slog.Logger) access.Role {
	whole := access.Role{Name: r.name, Rules: r.rules()}
	if _, err := access.Compile(access.Objects{Roles: []access.Role{whole}}); err != nil {
		log.Error("a role can't be read and denies everything; a later version of the gateway may have made it", "role", r.name, "error", err)
		whole.Rules = nil
		for _, rule := range builtIn().rules() {
			rule.Capabilities = []access.Capability{access.Deny}
			whole.Rules = append(whole.Rules, rule)
		}
	}
	return whole
}
