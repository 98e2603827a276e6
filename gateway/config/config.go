// Package config reads the gateway's declarative configuration: the auth
// methods, Kubernetes auth configs and roles of a GatewayConfig file.
//
// Reading is strict and complete. An unknown or repeated field is a mistake,
// and all mistakes are reported at once, each with the path of its field.
package config

import (
	"net/netip"
	"time"

	"github.com/gatepass/gatepass/gateway/session"

	"github.com/gatepass/gatepass/gateway/access"
)

// The identity of the file format.
const (
	APIVersion = "config.gatepass.dev/v1alpha1"
	Kind       = "GatewayConfig"
)

// Limits and defaults of a session's life.
const (
	DefaultSessionTTL = 15 * time.Minute
	MinSessionTTL     = 10 * time.Second
	// MaxSessionTTL is a day. Who verifies sessions by the published keys does not
	// learn of a revocation, so a long session is a standing credential.
	MaxSessionTTL = session.MaxLife
)

// MaxSize bounds the file: a ConfigMap holds at most 1 MiB.
const MaxSize = 1 << 20

// Config is a valid configuration. Parse is what makes one.
type Config struct {
	// Issuer is the `iss` of sessions and the base of the discovery document.
	Issuer string
	// AuthMethods have distinct names and distinct access ids.
	AuthMethods []AuthMethod
	// KubernetesAuthConfigs have distinct names; the access id of each is one
	// of AuthMethods'.
	KubernetesAuthConfigs []KubernetesAuthConfig
	// Roles have distinct names.
	Roles []Role
}

// Role is a list of rules, and to whom it is given.
type Role struct {
	Name        string
	Description string
	// Rules have distinct pairs of type and path.
	Rules        []access.Rule
	Associations []Association
}

// Association gives a role to those of an auth method of the file who have the
// sub-claims.
type Association struct {
	// AccessID is the auth method's.
	AccessID      string
	SubClaims     map[string]string
	CaseSensitive bool
}

// AuthMethod says who may log in and what session they get.
type AuthMethod struct {
	Name     string
	AccessID string
	// AccessExpires is when the method stops letting anybody in; zero is never.
	AccessExpires time.Time
	SessionTTL    time.Duration
	// SessionMaxTTL is how long a session can be kept by renewing it; zero, or at
	// most SessionTTL, means that it can't.
	SessionMaxTTL time.Duration
	// BoundIPs are the client addresses that may log in; empty is all.
	BoundIPs   []netip.Prefix
	Kubernetes KubernetesRules
}

// KubernetesRules restrict which pods may log in. A list that is empty
// restricts nothing. Entries may hold the wildcards * and ?.
type KubernetesRules struct {
	// Audience must be among the token's audiences; empty means the API
	// server's own audience.
	Audience                 string
	BoundNamespaces          []string
	BoundPodNames            []string
	BoundServiceAccountNames []string
}

// KubernetesAuthConfig says which API server judges the tokens, and as whom
// the gateway asks it.
type KubernetesAuthConfig struct {
	Name     string
	AccessID string
	// Host is the API server's https address; empty means the cluster that the
	// gateway runs in, or that its kubeconfig names.
	Host string
	// CAFile or CABundle verify Host. Neither means what belongs to the
	// gateway's own cluster.
	CAFile   string
	CABundle string
	Reviewer Reviewer
}

// ReviewerType says whose credentials the review request carries.
type ReviewerType string

// The reviewer types.
const (
	// ReviewerGateway is the gateway's own service account.
	ReviewerGateway ReviewerType = "gateway"
	// ReviewerToken is a dedicated account's token from a file.
	ReviewerToken ReviewerType = "token"
	// ReviewerCertificate is a client certificate.
	ReviewerCertificate ReviewerType = "certificate"
	// ReviewerSelf is the submitted token, reviewing itself. Its audience must
	// satisfy the API server too, and its account needs the right to review.
	ReviewerSelf ReviewerType = "self"
)

// Reviewer is whose credentials the review request carries. All paths are
// absolute, and the files are read again when they change.
type Reviewer struct {
	Type      ReviewerType
	TokenFile string
	CertFile  string
	KeyFile   string
}
