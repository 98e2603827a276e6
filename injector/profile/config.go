// Package profile reads the administrator's profiles: where pods of a profile
// log in, with what, and what a pod may change about it.
//
// Parse is strict and complete: an unknown field is a mistake, and every
// mistake of a file is reported at once with its field's path.
package profile

// The API version and kind of the file.
const (
	APIVersion = "config.gatepass.dev/v1alpha1"
	Kind       = "InjectorConfig"
)

// DefaultName is the profile of a pod that names none.
const DefaultName = "default"

// InjectorConfig is the file given to the webhook with --config.
type InjectorConfig struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Profiles   map[string]Profile `json:"profiles"`
	// ImageMirrors are what other webhooks may do to the agents' images.
	ImageMirrors []ImageMirror `json:"imageMirrors"`
}

// Profile is one entry of the file.
type Profile struct {
	Gateway Gateway `json:"gateway"`
	Login   Login   `json:"login"`
	Token   Token   `json:"token"`
	Agent   Agent   `json:"agent"`
	// Overrides lists the annotations, without their prefix, by which a pod
	// may change the profile's settings. Nothing else may be changed.
	Overrides []string `json:"overrides"`
	// ExcludeContainers names containers that do not get the session unless a
	// pod lists them. Pods need not have them.
	ExcludeContainers []string `json:"excludeContainers"`
}

// Gateway is the server that the profile's pods log in to.
type Gateway struct {
	// Protocol is gateway (the default) or vault.
	Protocol string `json:"protocol"`
	// URL is the server's https address.
	URL string `json:"url"`
	// CAFile names a file of PEM certificates, CABundle holds them. At most
	// one is given; with neither, agents use the system's or built-in roots.
	CAFile   string `json:"caFile"`
	CABundle string `json:"caBundle"`
	// Proxy is the HTTP proxy between agents and the server, or none. Empty
	// means what HTTPS_PROXY and NO_PROXY in the agent's container say.
	Proxy string `json:"proxy"`
}

// Login is what the agent presents beside its token.
type Login struct {
	// AccessID and AuthConfig belong to protocol gateway.
	AccessID   string `json:"accessID"`
	AuthConfig string `json:"authConfig"`
	// Role, AuthPath and Namespace belong to protocol vault.
	Role      string `json:"role"`
	AuthPath  string `json:"authPath"`
	Namespace string `json:"namespace"`
}

// Token is the projected service-account token.
type Token struct {
	// Audience is whom the token is for. Default: gatepass.
	Audience string `json:"audience"`
	// ExpirationSeconds is its life. Default and minimum: 600.
	ExpirationSeconds *int64 `json:"expirationSeconds"`
}

// Agent is the injected container.
type Agent struct {
	Image string `json:"image"`
	// ImagePullPolicy is left to Kubernetes when empty.
	ImagePullPolicy string `json:"imagePullPolicy"`
	// ImagePullSecrets are added to the pod's: Secrets in the pod's namespace.
	ImagePullSecrets []SecretReference `json:"imagePullSecrets"`
	// Mode is init (the default) or sidecar.
	Mode string `json:"mode"`
	// Timeout is a Go duration. Default: 60s.
	Timeout string `json:"timeout"`
	// LogLevel is debug, info (the default), warn or error.
	LogLevel string `json:"logLevel"`
	// CheckInterval is how often agents in mode sidecar ask whether their session was
	// revoked; 45s if empty, never if 0.
	CheckInterval string `json:"checkInterval"`
	// MetricsPort is where agents in mode sidecar serve /metrics; 0 is nowhere.
	MetricsPort int `json:"metricsPort"`
	// RunAsUser and RunAsGroup replace the rule by which the agent's user
	// follows the application's.
	RunAsUser  *int64    `json:"runAsUser"`
	RunAsGroup *int64    `json:"runAsGroup"`
	Resources  Resources `json:"resources"`
}

// SecretReference names a Secret, as in a pod's imagePullSecrets.
type SecretReference struct {
	Name string `json:"name"`
}

// Resources are the agent container's.
type Resources struct {
	Requests Amounts `json:"requests"`
	Limits   Amounts `json:"limits"`
}

// Amounts are quantities as Kubernetes writes them; "" is none.
type Amounts struct {
	CPU              string `json:"cpu"`
	Memory           string `json:"memory"`
	EphemeralStorage string `json:"ephemeral-storage"`
}

// Amount is one quantity and the resource's name in Kubernetes.
type Amount struct{ Resource, Quantity string }

// List returns all amounts, in one order.
func (a Amounts) List() []Amount {
	return []Amount{{ResourceCPU, a.CPU}, {ResourceMemory, a.Memory}, {ResourceEphemeralStorage, a.EphemeralStorage}}
}

// The resources that an agent may have, as Kubernetes names them.
const (
	ResourceCPU              = "cpu"
	ResourceMemory           = "memory"
	ResourceEphemeralStorage = "ephemeral-storage"
)
