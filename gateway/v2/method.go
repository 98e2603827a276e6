package v2

import "time"

// AuthMethodFields are what all auth methods have. In an update, what is unset
// stays as it is.
type AuthMethodFields struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// AccessExpires is in seconds since 1970; 0 is never, in an update Clear is.
	AccessExpires Int     `json:"access-expires,omitzero"`
	BoundIPs      Strings `json:"bound-ips,omitzero"`
	GWBoundIPs    Strings `json:"gw-bound-ips,omitzero"`
	// ForceSubClaims refuses associations without sub-claims.
	ForceSubClaims Bool `json:"force-sub-claims,omitzero"`
	// JWTTTL is the life of sessions in minutes; 0 is the account's default, in an
	// update Clear is.
	JWTTTL Int `json:"jwt-ttl,omitzero"`
}

// AuthMethodK8sFields are the bound rules of type k8s.
type AuthMethodK8sFields struct {
	Audience        string  `json:"audience,omitempty"`
	BoundNamespaces Strings `json:"bound-namespaces,omitzero"`
	BoundPodNames   Strings `json:"bound-pod-names,omitzero"`
	BoundSANames    Strings `json:"bound-sa-names,omitzero"`
	// GenKey is whether the gateway makes a key pair; unset it does.
	GenKey BoolText `json:"gen-key,omitzero"`
	// PublicKey is PEM, or base64 of it.
	PublicKey string `json:"public-key,omitempty"`
}

// CreateAuthMethodK8s is /create-auth-method-k8s and /auth-method-create-k8s.
type CreateAuthMethodK8s struct {
	Credentials
	AuthMethodFields
	AuthMethodK8sFields
}

// CreateAuthMethodKey is /create-auth-method and /auth-method-create-api-key.
type CreateAuthMethodKey struct {
	Credentials
	AuthMethodFields
}

// CreatedAuthMethod answers them. Keys are told only here.
type CreatedAuthMethod struct {
	Name     string `json:"name"`
	AccessID string `json:"access_id"`
	// PrivateKey is base64 of the PEM of the key pair that the gateway made.
	PrivateKey string `json:"prv_key,omitempty"`
	// AccessKey is of methods of type access_key.
	AccessKey string `json:"access_key,omitempty"`
	// EveryPod is K8sAccessRules.EveryPod.
	EveryPod bool `json:"every_pod,omitzero"`
}

// UpdateAuthMethodK8s is /update-auth-method-k8s and /auth-method-update-k8s.
type UpdateAuthMethodK8s struct {
	Credentials
	AuthMethodFields
	AuthMethodK8sFields
	NewName string `json:"new-name,omitempty"`
}

// UpdatedAuthMethod answers it.
type UpdatedAuthMethod struct {
	Name string `json:"name"`
	// EveryPod is K8sAccessRules.EveryPod.
	EveryPod bool `json:"every_pod,omitzero"`
}

// UpdateAuthMethodKey is /update-auth-method and /auth-method-update-api-key.
type UpdateAuthMethodKey struct {
	Credentials
	AuthMethodFields
	NewName string `json:"new-name,omitempty"`
}

// Named is the answer that repeats a name.
type Named struct {
	Name string `json:"name"`
}

// GetAuthMethod is /get-auth-method and /auth-method-get.
type GetAuthMethod struct {
	Credentials
	Name string `json:"name"`
}

// DeleteAuthMethod is /delete-auth-method and /auth-method-delete.
type DeleteAuthMethod struct {
	Credentials
	Name string `json:"name"`
}

// ResetAccessKey is /reset-access-key: the old key ends.
type ResetAccessKey struct {
	Credentials
	// Name is the auth method's.
	Name string `json:"name"`
}

// AccessKey is its answer.
type AccessKey struct {
	AccessKey string `json:"access_key"`
}

// Paging is how all lists are asked for.
type Paging struct {
	// Filter is a part of the names that are wanted.
	Filter string `json:"filter,omitempty"`
	// PaginationToken is next_page of the answer before.
	PaginationToken string `json:"pagination-token,omitempty"`
	// AutoPagination is enabled, or unset, to get everything in one answer;
	// disabled gives the first page.
	AutoPagination string `json:"auto-pagination,omitempty"`
}

// Values of AutoPagination.
const (
	PaginationEnabled  = "enabled"
	PaginationDisabled = "disabled"
)

// ListAuthMethods is /list-auth-methods and /auth-method-list.
type ListAuthMethods struct {
	Credentials
	Paging
	// Type holds rules types that are wanted; none is all.
	Type Strings `json:"type,omitzero"`
}

// AuthMethodList is its answer.
type AuthMethodList struct {
	AuthMethods []AuthMethod `json:"auth_methods"`
	NextPage    string       `json:"next_page,omitempty"`
}

// AuthMethod is an auth method as it is told.
type AuthMethod struct {
	Name        string       `json:"auth_method_name"`
	AccessID    string       `json:"auth_method_access_id"`
	Description string       `json:"description,omitempty"`
	AccessInfo  AccessInfo   `json:"access_info"`
	Roles       []MethodRole `json:"auth_method_roles_assoc"`
	Created     time.Time    `json:"creation_date,omitzero"`
	Modified    time.Time    `json:"modification_date,omitzero"`
	// FromFile is whether the method is declared in the gateway's configuration
	// file. It is not in the original API.
	FromFile bool `json:"from_file,omitzero"`
}

// AccessInfo is how an auth method lets in.
type AccessInfo struct {
	// RulesType is k8s or api_key.
	RulesType string `json:"rules_type"`
	// AccessExpires is in seconds since 1970; 0 is never, in an update Clear is.
	AccessExpires int64 `json:"access_expires"`
	// JWTTTL is in minutes; 0 is the account's default.
	JWTTTL int64 `json:"jwt_ttl"`
	// The whitelists have commas between prefixes.
	CIDRWhitelist   string          `json:"cidr_whitelist,omitempty"`
	GWCIDRWhitelist string          `json:"gw_cidr_whitelist,omitempty"`
	ForceSubClaims  bool            `json:"force_sub_claims"`
	K8s             *K8sAccessRules `json:"k8s_access_rules,omitzero"`
	Key             *KeyAccessRules `json:"api_key_access_rules,omitzero"`
}

// Rules types in answers.
const (
	RulesTypeK8s = "k8s"
	RulesTypeKey = "api_key"
)

// K8sAccessRules are the bound rules of type k8s.
type K8sAccessRules struct {
	Algorithm       string   `json:"alg,omitempty"`
	Audience        string   `json:"audience,omitempty"`
	BoundNamespaces []string `json:"bound_namespaces,omitempty"`
	BoundPodNames   []string `json:"bound_pod_names,omitempty"`
	BoundSANames    []string `json:"bound_service_account_names,omitempty"`
	// EveryPod is whether no name is bound, so that every pod of the cluster may log
	// in. It is not in the original API.
	EveryPod bool `json:"every_pod,omitzero"`
	// GenKeyPair is "true" or "false".
	GenKeyPair string `json:"gen_key_pair"`
	// PublicKey is base64 of its PEM.
	PublicKey string `json:"pub_key,omitempty"`
}

// KeyAccessRules stand for an access key, which is never told again.
type KeyAccessRules struct{}

// MethodRole is a role that an auth method has, and when.
type MethodRole struct {
	AssocID       string              `json:"assoc_id"`
	RoleName      string              `json:"role_name"`
	SubClaims     map[string][]string `json:"auth_method_sub_claims,omitempty"`
	CaseSensitive bool                `json:"is_sub_claims_case_sensitive"`
}
