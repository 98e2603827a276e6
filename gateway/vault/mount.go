package vault

import (
	"errors"
	"net/http"

	"github.com/gatepass/gatepass/gateway/catalog"
)

// kubernetesConfig is the config of an auth mount, as it is read.
type kubernetesConfig struct {
	Host                string   `json:"kubernetes_host"`
	CACert              string   `json:"kubernetes_ca_cert"`
	Issuer              string   `json:"issuer"`
	DisableISSCheck     bool     `json:"disable_iss_validation"`
	DisableLocalCAJWT   bool     `json:"disable_local_ca_jwt"`
	TokenReviewerJWTSet bool     `json:"token_reviewer_jwt_set"`
	PEMKeys             []string `json:"pem_keys"`
	Annotations         bool     `json:"use_annotations_as_alias_metadata"`
}

// configRequest is the config of an auth mount, as it is written. A field that
// is not sent is as if it had its default, not what it was before.
type configRequest struct {
	Host              string `json:"kubernetes_host"`
	CACert            string `json:"kubernetes_ca_cert"`
	TokenReviewerJWT  string `json:"token_reviewer_jwt"`
	Issuer            string `json:"issuer"`
	DisableISSCheck   *flag  `json:"disable_iss_validation"`
	DisableLocalCAJWT flag   `json:"disable_local_ca_jwt"`
	PEMKeys           list   `json:"pem_keys"`
	Annotations       flag   `json:"use_annotations_as_alias_metadata"`
}

// readConfig is GET auth/<mount>/config.
func (h *Handler) readConfig(c *call) (*answer, error) {
	found, err := c.as.AuthConfig(c.Context(), c.mount)
	if err != nil {
		return nil, err
	}
	return data(kubernetesConfig{
		Host:                found.Host,
		CACert:              found.CACert,
		Issuer:              found.Issuer,
		DisableISSCheck:     found.DisableIssuerValidation,
		DisableLocalCAJWT:   found.Reviewer == catalog.ReviewerSelf,
		TokenReviewerJWTSet: found.Reviewer == catalog.ReviewerToken,
	}), nil
}

// writeConfig is POST auth/<mount>/config.
func (h *Handler) writeConfig(c *call) (*answer, error) {
	var req configRequest
	if err := c.decode(maxBody, &req); err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	_, err := c.as.AuthConfig(c.Context(), c.mount)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		// It belongs to no auth method: the mount's roles name it.
		_, err = c.as.CreateAuthConfig(c.Context(), *req.apply(&catalog.AuthConfig{Name: c.mount}))
	case err == nil:
		_, err = c.as.UpdateAuthConfig(c.Context(), c.mount, func(to *catalog.AuthConfig) error {
			if err := c.ofMount(to); err != nil {
				return err
			}
			req.apply(to)
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return done(), nil
}

// ofMount refuses an auth config that is not the mount's but an auth method's, by whose
// rights it can be changed back.
func (c *call) ofMount(found *catalog.AuthConfig) error {
	if found.AccessID == "" {
		return nil
	}
	return refuse(http.StatusConflict, "auth/"+c.mount+": the auth config of this name belongs to the auth method of access id "+found.AccessID+
		" and not to a mount; choose another mount, or change it with gateway-update-k8s-auth-config")
}

// check refuses what would be less strict than it says if it were ignored.
func (r *configRequest) check() error {
	if len(r.PEMKeys) > 0 {
		return refuse(http.StatusBadRequest, "pem_keys is not supported: this gateway has every token reviewed by the API server")
	}
	if r.Annotations {
		return refuse(http.StatusBadRequest, "use_annotations_as_alias_metadata is not supported: this gateway has no aliases")
	}
	return nil
}

// apply changes what a config says. Whose credentials a review carries follows
// Vault: the token that was given, or else the server's own account, or, if that
// is disabled, the submitted token.
func (r *configRequest) apply(to *catalog.AuthConfig) *catalog.AuthConfig {
	to.Host, to.CACert, to.Issuer = r.Host, r.CACert, r.Issuer
	to.DisableIssuerValidation = r.DisableISSCheck == nil || bool(*r.DisableISSCheck)
	to.ReviewerJWT, to.ClientCert, to.ClientKey = nil, "", nil
	switch {
	case r.TokenReviewerJWT != "":
		to.Reviewer, to.ReviewerJWT = catalog.ReviewerToken, []byte(r.TokenReviewerJWT)
	case bool(r.DisableLocalCAJWT):
		to.Reviewer = catalog.ReviewerSelf
	default:
		to.Reviewer = catalog.ReviewerGateway
	}
	return to
}

// deleteConfig is DELETE auth/<mount>/config, which ends the mount.
func (h *Handler) deleteConfig(c *call) (*answer, error) {
	found, err := c.as.AuthConfig(c.Context(), c.mount)
	if err == nil && !found.FromFile {
		err = c.ofMount(&found)
	}
	if err != nil && !errors.Is(err, catalog.ErrNotFound) && !errors.Is(err, catalog.ErrDenied) {
		return nil, err
	}
	if err := c.as.DeleteAuthConfig(c.Context(), c.mount); err != nil {
		return nil, err
	}
	return done(), nil
}
