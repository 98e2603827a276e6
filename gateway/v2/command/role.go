package command

import (
	"context"
	"strings"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/catalog"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

func createRole(ctx context.Context, by *Session, r *v2.CreateRole) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	role := catalog.Role{Name: r.Name, Description: r.Comment}
	set(&role.Description, r.Description)
	if err := by.CreateRole(ctx, role); err != nil {
		return nil, err
	}
	return v2.Named{Name: strings.TrimPrefix(r.Name, "/")}, nil
}

func getRole(ctx context.Context, by *Session, r *v2.GetRole) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	role, err := by.Role(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return tellRole(&role), nil
}

func listRoles(ctx context.Context, by *Session, r *v2.ListRoles) (any, error) {
	page, err := pageOf(&r.Paging)
	if err != nil {
		return nil, err
	}
	roles, next, err := by.ListRoles(ctx, page)
	if err != nil {
		return nil, err
	}
	answer := v2.RoleList{Roles: []v2.Role{}, NextPage: next}
	for i := range roles {
		if strings.Contains(roles[i].Name, r.Filter) {
			answer.Roles = append(answer.Roles, tellRole(&roles[i]))
		}
	}
	return answer, nil
}

func updateRole(ctx context.Context, by *Session, r *v2.UpdateRole) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	err := by.UpdateRole(ctx, r.Name, func(role *catalog.Role) error {
		set(&role.Name, r.NewName)
		role.Description = changed(role.Description, v2.UnsetComment, r.NewComment, r.Description)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v2.Updated{Updated: true}, nil
}

func deleteRole(ctx context.Context, by *Session, r *v2.DeleteRole) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	if err := by.DeleteRole(ctx, r.Name); err != nil {
		return nil, err
	}
	return v2.Nothing{}, nil
}

func setRule(ctx context.Context, by *Session, r *v2.SetRoleRule) (any, error) {
	if err := required("role-name", r.RoleName); err != nil {
		return nil, err
	}
	if r.TTL.Or(0) != 0 {
		return nil, invalid("ttl", "rules don't expire; leave it out")
	}
	rule := access.Rule{Type: ruleType(r.RuleType), Path: r.Path}
	for _, c := range r.Capabilities {
		rule.Capabilities = append(rule.Capabilities, access.Capability(c))
	}
	if err := by.SetRule(ctx, r.RoleName, rule); err != nil {
		return nil, err
	}
	return v2.Nothing{}, nil
}

func deleteRule(ctx context.Context, by *Session, r *v2.DeleteRoleRule) (any, error) {
	if err := required("role-name", r.RoleName); err != nil {
		return nil, err
	}
	if err := by.DeleteRule(ctx, r.RoleName, ruleType(r.RuleType), r.Path); err != nil {
		return nil, err
	}
	return v2.DeletedRoleRule{Deleted: true}, nil
}

func ruleType(sent string) access.RuleType {
	if sent == "" {
		return access.RuleType(v2.DefaultRuleType)
	}
	return access.RuleType(sent)
}

func associate(ctx context.Context, by *Session, r *v2.AssocRoleAuthMethod) (any, error) {
	if err := required("role-name", r.RoleName); err != nil {
		return nil, err
	}
	if err := required("am-name", r.MethodName); err != nil {
		return nil, err
	}
	id, err := by.Associate(ctx, catalog.Association{
		Role:          r.RoleName,
		Method:        r.MethodName,
		SubClaims:     r.SubClaims,
		CaseSensitive: r.CaseSensitive.Or(true),
	})
	if err != nil {
		return nil, err
	}
	return v2.Association{AssocID: id}, nil
}

func updateAssociation(ctx context.Context, by *Session, r *v2.UpdateAssoc) (any, error) {
	if err := required("assoc-id", r.AssocID); err != nil {
		return nil, err
	}
	err := by.UpdateAssociation(ctx, r.AssocID, func(a *catalog.Association) error {
		if r.SubClaims != nil {
			a.SubClaims = r.SubClaims
		}
		a.CaseSensitive = r.CaseSensitive.Or(a.CaseSensitive)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v2.Nothing{}, nil
}

func deleteAssociation(ctx context.Context, by *Session, r *v2.DeleteAssoc) (any, error) {
	if err := required("assoc-id", r.AssocID); err != nil {
		return nil, err
	}
	if err := by.DeleteAssociation(ctx, r.AssocID); err != nil {
		return nil, err
	}
	return v2.Nothing{}, nil
}

func tellRole(r *catalog.Role) v2.Role {
	told := v2.Role{
		Name:        r.Name,
		Description: r.Description,
		Rules:       v2.Rules{PathRules: []v2.PathRule{}},
		Methods:     []v2.RoleMethod{},
		Created:     r.Created,
		Modified:    r.Modified,
		FromFile:    r.FromFile,
	}
	for _, rule := range r.Rules {
		told.Rules.PathRules = append(told.Rules.PathRules, v2.PathRule{
			Path:         slashed(rule.Path),
			Capabilities: tellCapabilities(rule.Capabilities),
			Type:         string(rule.Type),
		})
	}
	for i := range r.Associations {
		a := &r.Associations[i]
		told.Methods = append(told.Methods, v2.RoleMethod{
			AssocID:       a.ID,
			MethodName:    a.Method,
			AccessID:      a.AccessID,
			SubClaims:     tellSubClaims(a.SubClaims),
			CaseSensitive: a.CaseSensitive,
		})
	}
	return told
}

func tellCapabilities(capabilities []access.Capability) []string {
	told := make([]string, 0, len(capabilities))
	for _, c := range capabilities {
		told = append(told, string(c))
	}
	return told
}

// tellSubClaims splits the alternatives, which are written with commas
// between them.
func tellSubClaims(claims map[string]string) map[string][]string {
	told := make(map[string][]string, len(claims))
	for name, patterns := range claims {
		for pattern := range strings.SplitSeq(patterns, ",") {
			told[name] = append(told[name], strings.TrimSpace(pattern))
		}
	}
	return told
}
