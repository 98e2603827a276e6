package v2

// K8sAuthConfigFields are the fields of a Kubernetes auth config that clients
// write. In an update, what is unset stays as it is.
type K8sAuthConfigFields struct {
	Name     string `json:"name"`
	AccessID string `json:"access-id,omitempty"`
	// SigningKey is base64 of the PEM of the auth method's private key.
	SigningKey string `json:"signing-key,omitempty"`
	// K8sHost is empty for the gateway's own cluster.
	K8sHost string `json:"k8s-host,omitempty"`
	// K8sCACert is base64 of PEM.
	K8sCACert string `json:"k8s-ca-cert,omitempty"`
	// K8sAuthType is one of the K8sAuthType constants.
	K8sAuthType string `json:"k8s-auth-type,omitempty"`
	// The client's certificate and key are base64 of PEM.
	K8sClientCertificate string `json:"k8s-client-certificate,omitempty"`
	K8sClientKey         string `json:"k8s-client-key,omitempty"`
	TokenReviewerJWT     string `json:"token-reviewer-jwt,omitempty"`
	UseGWServiceAccount  Bool   `json:"use-gw-service-account,omitzero"`
	// TokenExp is in seconds.
	TokenExp Int `json:"token-exp,omitzero"`
	// K8sIssuer is what the tokens' iss must be. DefaultIssuer, which the SDKs
	// send unless told otherwise, is the cluster's own issuer, whatever it is.
	K8sIssuer               string   `json:"k8s-issuer,omitempty"`
	DisableIssuerValidation BoolText `json:"disable-issuer-validation,omitzero"`
	ClusterAPIType          string   `json:"cluster-api-type,omitempty"`
}

// Values of fields of Kubernetes auth configs.
const (
	K8sAuthTypeToken       = "token"
	K8sAuthTypeCertificate = "certificate"
	ClusterNative          = "native_k8s"
	DefaultIssuer          = "kubernetes/serviceaccount"
	// ClearIssuer is DefaultIssuer in an update.
	ClearIssuer = "default"
	// DefaultTokenExp is of the original API, in seconds.
	DefaultTokenExp = 300
)

// CreateK8sAuthConfig is /gateway-create-k8s-auth-config.
type CreateK8sAuthConfig struct {
	Credentials
	K8sAuthConfigFields
}

// Update takes out what the public SDKs send in every update, whatever they are
// asked to change, and puts DefaultIssuer in the place of ClearIssuer.
func (f K8sAuthConfigFields) Update() K8sAuthConfigFields {
	switch f.K8sIssuer {
	case DefaultIssuer:
		f.K8sIssuer = ""
	case ClearIssuer:
		f.K8sIssuer = DefaultIssuer
	}
	if f.TokenExp.Or(0) == DefaultTokenExp {
		f.TokenExp = Int{}
	}
	if f.K8sAuthType == K8sAuthTypeToken {
		f.K8sAuthType = ""
	}
	return f
}

// UpdateK8sAuthConfig is /gateway-update-k8s-auth-config.
type UpdateK8sAuthConfig struct {
	Credentials
	K8sAuthConfigFields
	NewName string `json:"new-name,omitempty"`
}

// GetK8sAuthConfig is /gateway-get-k8s-auth-config.
type GetK8sAuthConfig struct {
	Credentials
	Name string `json:"name"`
}

// DeleteK8sAuthConfig is /gateway-delete-k8s-auth-config.
type DeleteK8sAuthConfig struct {
	Credentials
	Name string `json:"name"`
}

// ConfigChanged is what changes of auth configs answer.
type ConfigChanged struct {
	ClusterID string `json:"cluster_id"`
	// TotalHash changes with what is told of the config.
	TotalHash   string  `json:"total_hash"`
	PartsChange Nothing `json:"parts_change"`
}

// K8sAuthConfig is a Kubernetes auth config as it is told. Keys and the
// reviewer's token, which the original API tells too, are not in it.
type K8sAuthConfig struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	AccessID string `json:"auth_method_access_id"`
	K8sHost  string `json:"k8s_host"`
	// K8sCACert and ClientCertificate are base64 of PEM.
	K8sCACert         string `json:"k8s_ca_cert"`
	ClientCertificate string `json:"k8s_client_cert_data,omitempty"`
	K8sAuthType       string `json:"k8s_auth_type"`
	K8sIssuer         string `json:"k8s_issuer"`
	DisableIssuer     bool   `json:"disable_iss_validation"`
	ClusterAPIType    string `json:"cluster_api_type"`
	// TokenExpiration is in seconds.
	TokenExpiration int64 `json:"am_token_expiration"`
	// UseLocalCAJWT is whether the gateway's own service account reviews.
	UseLocalCAJWT bool `json:"use_local_ca_jwt"`
	// Reviewer is gateway, token, certificate or self. It and FromFile are not
	// in the original API.
	Reviewer string `json:"reviewer"`
	FromFile bool   `json:"from_file,omitzero"`
}

// GetConfig is /gateway-get-config.
type GetConfig struct{ Credentials }

// GatewayConfig is its answer: all auth configs that the caller may see.
type GatewayConfig struct {
	K8sAuths K8sAuths `json:"k8s_auths"`
}

// K8sAuths is a part of GatewayConfig.
type K8sAuths struct {
	K8sAuths []K8sAuthConfig `json:"k8s_auths"`
}
