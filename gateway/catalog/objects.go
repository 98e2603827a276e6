package catalog

import (
	"time"

	"github.com/gatepass/gatepass/gateway/access"
)

// Method is an auth method.
type Method struct {
	Name        string
	AccessID    string
	Description string
	// Type is TypeK8s or TypeAccessKey.
	Type MethodType
	// Expires is when the method stops letting anybody in; zero is never.
	Expires time.Time
	// SessionTTL is the life of a session; zero means the account's default.
	SessionTTL time.Duration
	// SessionMaxTTL, if longer than SessionTTL, is how long a session that was made
	// by Vault's protocol can be kept by renewing it. See session.Claims.Lease.
	SessionMaxTTL time.Duration
	// AuthConfigs are names of Kubernetes auth configs that identities of TypeK8s
	// may come through, besides those that belong to the method: the roles of a
	// Vault auth mount share one. They stand for the objects: an update that leaves a
	// name in keeps the object that had it when it was put in.
	AuthConfigs []string
	// BoundIPs are prefixes of client addresses that may log in; empty is all.
	// GatewayBoundIPs are kept and returned, for clients that compare what they wrote.
	BoundIPs        []string
	GatewayBoundIPs []string
	// ForceSubClaims refuses associations of this method without sub-claims.
	ForceSubClaims bool
	// Audience, Namespaces, PodNames and ServiceAccounts are the bound rules of
	// TypeK8s; see authmethod.Method.
	Audience        string
	Namespaces      []string
	PodNames        []string
	ServiceAccounts []string
	// PublicKey is the PEM of the public half of the method's key pair, if it has one;
	// see AuthConfig.SigningKey. GeneratedKey is whether the gateway made the pair.
	PublicKey    string
	GeneratedKey bool
	// FromFile is whether the method is declared in the configuration file and
	// can't be changed here.
	FromFile bool
	// Listed is whether only name, access id, type and the auth configs that the
	// caller may list are told: it may list the method, but not read it.
	Listed            bool
	Created, Modified time.Time
}

// MethodType is how identities prove themselves.
type MethodType string

// The types of auth methods.
const (
	TypeK8s       MethodType = "k8s"
	TypeAccessKey MethodType = "access_key"
)

// AuthConfig is a Kubernetes auth config: which API server judges the tokens of
// which auth method, and as whom the gateway asks it. Secrets are never
// returned: they are empty in what is read.
type AuthConfig struct {
	ID   string
	Name string
	// AccessID is of the auth method that the config belongs to. It never changes. Empty
	// means that it belongs to none: it lets in identities of the methods that have it in
	// AuthConfigs, and its own name stands for the method's in auth-method-rules.
	AccessID string
	// SigningKey is the PEM of the auth method's private key. It shows, when the
	// config is made, that its maker may bind it to the method; it is not kept, and no
	// session is ever signed with it.
	SigningKey []byte
	// Host and CACert (PEM) name the API server; both empty mean the gateway's own
	// cluster.
	Host   string
	CACert string
	// Reviewer says whose credentials a review carries.
	Reviewer    Reviewer
	ReviewerJWT []byte // ReviewerToken
	ClientCert  string // PEM, ReviewerCertificate
	ClientKey   []byte // PEM, ReviewerCertificate
	// Issuer, if set and not Disabled, is what the submitted token's iss must be.
	Issuer                  string
	DisableIssuerValidation bool
	// TokenExpiration is kept for clients that read it back.
	TokenExpiration   time.Duration
	FromFile          bool
	Created, Modified time.Time
}

// Reviewer says whose credentials a token review carries.
type Reviewer string

// The reviewers.
const (
	ReviewerGateway     Reviewer = "gateway"
	ReviewerToken       Reviewer = "token"
	ReviewerCertificate Reviewer = "certificate"
	ReviewerSelf        Reviewer = "self"
)

// Role is a named list of rules, and to whom it is given.
type Role struct {
	Name              string
	Description       string
	Rules             []access.Rule
	Associations      []Association // filled when read
	FromFile          bool
	Created, Modified time.Time
}

// Association gives a role to those of an auth method who have the sub-claims.
type Association struct {
	ID            string
	Role          string
	Method        string // the auth method's name
	AccessID      string // filled when read
	SubClaims     map[string]string
	CaseSensitive bool
	FromFile      bool
	Created       time.Time
}

// Item is a static secret without its values.
type Item struct {
	// Name is a path with a leading slash.
	Name        string
	Description string
	Tags        []string
	// Versions are in order, the latest last. Numbers begin with 1.
	Versions          []Version
	FromFile          bool
	Created, Modified time.Time
}

// Latest is the number of the latest version.
func (i *Item) Latest() int { return i.Versions[len(i.Versions)-1].Number }

// Version is one value of an item.
type Version struct {
	Number  int
	Created time.Time
}

// Settings are the account's.
type Settings struct {
	// SessionTTL is the life of sessions of methods that set none.
	SessionTTL time.Duration
}
