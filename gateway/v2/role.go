package v2

import "time"

// CreateRole is /create-role.
type CreateRole struct {
	Credentials
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Comment     string `json:"comment,omitempty"` // older clients' word for it
}

// GetRole is /get-role.
type GetRole struct {
	Credentials
	Name string `json:"name"`
}

// DeleteRole is /delete-role.
type DeleteRole struct {
	Credentials
	Name string `json:"name"`
}

// UpdateRole is /update-role. What is unset stays as it is.
type UpdateRole struct {
	Credentials
	Name    string `json:"name"`
	NewName string `json:"new-name,omitempty"`
	// Description and NewComment are two names of one field. Unset, UnsetComment.
	Description *string `json:"description,omitempty"`
	NewComment  *string `json:"new-comment,omitempty"`
}

// ListRoles is /list-roles.
type ListRoles struct {
	Credentials
	Paging
}

// RoleList is its answer.
type RoleList struct {
	Roles    []Role `json:"roles"`
	NextPage string `json:"next_page,omitempty"`
}

// Role is a role as it is told.
type Role struct {
	Name        string       `json:"role_name"`
	Description string       `json:"comment,omitempty"`
	Rules       Rules        `json:"rules"`
	Methods     []RoleMethod `json:"role_auth_methods_assoc"`
	Created     time.Time    `json:"creation_date,omitzero"`
	Modified    time.Time    `json:"modification_date,omitzero"`
	FromFile    bool         `json:"from_file,omitzero"`
}

// Rules are a role's.
type Rules struct {
	PathRules []PathRule `json:"path_rules"`
}

// PathRule gives capabilities on a path, or denies them.
type PathRule struct {
	Path         string   `json:"path"`
	Capabilities []string `json:"capabilities"`
	// Type is item-rule, role-rule or auth-method-rule.
	Type string `json:"type"`
}

// RoleMethod is an auth method that has a role, and when.
type RoleMethod struct {
	AssocID       string              `json:"assoc_id"`
	MethodName    string              `json:"auth_method_name"`
	AccessID      string              `json:"auth_method_access_id"`
	SubClaims     map[string][]string `json:"auth_method_sub_claims,omitempty"`
	CaseSensitive bool                `json:"sub_claims_case_sensitive"`
}

// SetRoleRule is /set-role-rule: it replaces the rule of that type and path.
type SetRoleRule struct {
	Credentials
	RoleName     string  `json:"role-name"`
	Path         string  `json:"path"`
	Capabilities Strings `json:"capability"`
	// RuleType is DefaultRuleType if it is unset.
	RuleType string `json:"rule-type,omitempty"`
	// TTL is refused unless it is 0: rules don't expire.
	TTL Int `json:"ttl,omitzero"`
}

// DefaultRuleType is the rule type of requests that name none.
const DefaultRuleType = "item-rule"

// DeleteRoleRule is /delete-role-rule.
type DeleteRoleRule struct {
	Credentials
	RoleName string `json:"role-name"`
	Path     string `json:"path"`
	RuleType string `json:"rule-type,omitempty"`
}

// DeletedRoleRule is its answer.
type DeletedRoleRule struct {
	Deleted bool `json:"deleted"`
}

// AssocRoleAuthMethod is /assoc-role-am: it gives a role to those of an auth
// method who have the sub-claims.
type AssocRoleAuthMethod struct {
	Credentials
	RoleName   string `json:"role-name"`
	MethodName string `json:"am-name"`
	// SubClaims are patterns by claim, with commas between alternatives.
	SubClaims map[string]string `json:"sub-claims,omitempty"`
	// CaseSensitive is true if it is unset.
	CaseSensitive BoolText `json:"case-sensitive,omitzero"`
}

// Association is its answer.
type Association struct {
	AssocID string `json:"assoc_id"`
}

// UpdateAssoc is /update-assoc: it replaces the sub-claims.
type UpdateAssoc struct {
	Credentials
	AssocID       string            `json:"assoc-id"`
	SubClaims     map[string]string `json:"sub-claims,omitempty"`
	CaseSensitive BoolText          `json:"case-sensitive,omitzero"`
}

// DeleteAssoc is /delete-assoc.
type DeleteAssoc struct {
	Credentials
	AssocID string `json:"assoc-id"`
}
