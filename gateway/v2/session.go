package v2

// Auth is /auth: it asks for a session.
type Auth struct {
	AccessID string `json:"access-id,omitempty"`
	// AccessType is one of the AccessType constants; none is AccessTypeKey.
	AccessType string `json:"access-type,omitempty"`
	// AccessKey goes with AccessTypeKey.
	AccessKey string `json:"access-key,omitempty"`
	// AuthConfig and ServiceAccountToken go with AccessTypeK8s. The token is as
	// it is, or in base64.
	AuthConfig          string `json:"k8s-auth-config-name,omitempty"`
	ServiceAccountToken string `json:"k8s-service-account-token,omitempty"`
}

// The access types. AccessTypeAPIKey is another spelling of AccessTypeKey.
const (
	AccessTypeK8s    = "k8s"
	AccessTypeKey    = "access_key"
	AccessTypeAPIKey = "api_key"
)

// AuthAnswer is /auth's. Clients of different ages read different fields.
type AuthAnswer struct {
	Token string `json:"token"`
	// Expiration is RFC 3339.
	Expiration string    `json:"expiration"`
	Creds      AuthCreds `json:"creds"`
}

// AuthCreds repeat the session.
type AuthCreds struct {
	Token string `json:"token"`
	// Expiry is in seconds since 1970.
	Expiry int64 `json:"expiry"`
}

// ValidateToken is /validate-token.
type ValidateToken struct{ Credentials }

// Validation is /validate-token's answer.
type Validation struct {
	IsValid bool `json:"is_valid"`
	// Expiration is RFC 3339.
	Expiration string `json:"expiration,omitempty"`
	// TTL is how many seconds are left.
	TTL int64 `json:"ttl,omitzero"`
	// Reason is why the session is not valid.
	Reason string `json:"reason,omitempty"`
}

// DescribeSubClaims is /describe-sub-claims.
type DescribeSubClaims struct{ Credentials }

// SubClaims is its answer.
type SubClaims struct {
	SubClaims map[string][]string `json:"sub_claims"`
}

// RevokeCreds is /revoke-creds: it ends the session that it carries.
type RevokeCreds struct{ Credentials }

// RevokeIdentitySessions is /revoke-identity-sessions: it ends all sessions
// that a subject has under an auth method.
type RevokeIdentitySessions struct {
	Credentials
	// Name is the auth method's.
	Name string `json:"name"`
	// Subject is the sessions' sub, like system:serviceaccount:my-namespace:my-account.
	Subject string `json:"subject"`
}

// RevokeAuthMethodSessions is /revoke-auth-method-sessions: it ends all
// sessions of an auth method.
type RevokeAuthMethodSessions struct {
	Credentials
	Name string `json:"name"`
}

// DescribePermissions is /describe-permissions: what may I do on a path?
type DescribePermissions struct {
	Credentials
	Path string `json:"path"`
	// Type is item, role or am, or a rule type.
	Type string `json:"type"`
}

// Permissions is its answer.
type Permissions struct {
	ClientPermissions []string `json:"client_permissions"`
}

// GetAccountSettings is /get-account-settings.
type GetAccountSettings struct{ Credentials }

// AccountSettings is its answer.
type AccountSettings struct {
	SystemAccessCreds SystemAccessCreds `json:"system_access_creds_settings"`
}

// SystemAccessCreds are settings of sessions.
type SystemAccessCreds struct {
	// The lives of sessions in minutes.
	JWTTTLDefault int64 `json:"jwt_ttl_default"`
	JWTTTLMinimum int64 `json:"jwt_ttl_minimum"`
	JWTTTLMaximum int64 `json:"jwt_ttl_maximum"`
}

// UpdateAccountSettings is /update-account-settings.
type UpdateAccountSettings struct {
	Credentials
	// JWTTTLDefault is the life of sessions whose auth method sets none, in
	// minutes.
	JWTTTLDefault Int `json:"jwt-ttl-default,omitzero"`
}

// Updated is the answer of commands that change something.
type Updated struct {
	Updated bool `json:"updated"`
}
