package command

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/catalog"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

func createConfig(ctx context.Context, by *Session, r *v2.CreateK8sAuthConfig) (any, error) {
	for field, value := range map[string]string{"name": r.Name, "access-id": r.AccessID} {
		if err := required(field, value); err != nil {
			return nil, err
		}
	}
	c := catalog.AuthConfig{TokenExpiration: v2.DefaultTokenExp * time.Second}
	if err := setConfig(&c, &r.K8sAuthConfigFields); err != nil {
		return nil, err
	}
	created, err := by.CreateAuthConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	return changeOf(&created)
}

func updateConfig(ctx context.Context, by *Session, r *v2.UpdateK8sAuthConfig) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	sent := r.Update()
	changed, err := by.UpdateAuthConfig(ctx, r.Name, func(c *catalog.AuthConfig) error {
		name := cmp.Or(r.NewName, c.Name)
		err := setConfig(c, &sent)
		c.Name = name
		return err
	})
	if err != nil {
		return nil, err
	}
	return changeOf(&changed)
}

// setConfig puts in what a request sets.
func setConfig(c *catalog.AuthConfig, f *v2.K8sAuthConfigFields) error {
	if f.ClusterAPIType != "" && f.ClusterAPIType != v2.ClusterNative {
		return invalid("cluster-api-type", "%q is not supported; use %s, also for a cluster that Rancher manages, with the address of its own API server", f.ClusterAPIType, v2.ClusterNative)
	}
	if exp := f.TokenExp.Or(1); exp < 0 || exp > int64(24*time.Hour/time.Second) {
		return invalid("token-exp", "it is a number of seconds, a day at most")
	}
	c.Name = f.Name
	set(&c.AccessID, f.AccessID)
	set(&c.Host, strings.TrimSpace(f.K8sHost))
	if !f.TokenExp.IsZero() {
		c.TokenExpiration = time.Duration(f.TokenExp.Or(0)) * time.Second
	}
	switch f.K8sIssuer {
	case "":
	case v2.DefaultIssuer:
		c.Issuer = ""
	default:
		c.Issuer = f.K8sIssuer
	}
	c.DisableIssuerValidation = f.DisableIssuerValidation.Or(c.DisableIssuerValidation)
	if err := setConfigFiles(c, f); err != nil {
		return err
	}
	return setReviewer(c, f)
}

func setConfigFiles(c *catalog.AuthConfig, f *v2.K8sAuthConfigFields) error {
	ca, err := pemOf("k8s-ca-cert", f.K8sCACert)
	if err != nil {
		return err
	}
	certificate, err := pemOf("k8s-client-certificate", f.K8sClientCertificate)
	if err != nil {
		return err
	}
	set(&c.CACert, string(ca))
	set(&c.ClientCert, string(certificate))
	if c.ClientKey, err = pemOf("k8s-client-key", f.K8sClientKey); err != nil {
		return err
	}
	c.SigningKey, err = pemOf("signing-key", f.SigningKey)
	return err
}

// setReviewer finds out as whom tokens are reviewed: the request says so by the
// credentials it brings, and an update that brings none keeps what there is.
func setReviewer(c *catalog.AuthConfig, f *v2.K8sAuthConfigFields) error {
	c.ReviewerJWT = []byte(strings.TrimSpace(f.TokenReviewerJWT))
	certificate := f.K8sClientCertificate != "" || f.K8sClientKey != ""
	was := c.Reviewer
	switch {
	case f.UseGWServiceAccount.Or(false):
		c.Reviewer = catalog.ReviewerGateway
		if len(c.ReviewerJWT) > 0 || certificate {
			return invalid("use-gw-service-account", "it goes neither with token-reviewer-jwt nor with a client certificate; choose one")
		}
		if ownCluster(c.Host) {
			c.Host, c.CACert = "", ""
		}
	case len(c.ReviewerJWT) > 0 && certificate:
		return invalid("token-reviewer-jwt", "it does not go with a client certificate; choose one")
	case len(c.ReviewerJWT) > 0:
		c.Reviewer = catalog.ReviewerToken
	case certificate:
		c.Reviewer = catalog.ReviewerCertificate
	case was == "", was == catalog.ReviewerGateway && !f.UseGWServiceAccount.IsZero():
		c.Reviewer = catalog.ReviewerSelf
	}
	if c.Reviewer != catalog.ReviewerCertificate {
		c.ClientCert = ""
	}
	return checkAuthType(c, f)
}

// ownCluster says whether a host is the gateway's own cluster, by one of the names
// that every cluster's API server has inside of it: old SDKs insist on a host.
func ownCluster(host string) bool {
	name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(host, "https://"), "/"), ":443")
	switch name {
	case "", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local":
		return true
	}
	return false
}

func checkAuthType(c *catalog.AuthConfig, f *v2.K8sAuthConfigFields) error {
	certificate := c.Reviewer == catalog.ReviewerCertificate
	switch f.K8sAuthType {
	case "":
	case v2.K8sAuthTypeCertificate:
		if !certificate {
			return invalid("k8s-client-certificate", "k8s-auth-type %s needs it, and k8s-client-key", f.K8sAuthType)
		}
	case v2.K8sAuthTypeToken:
		if certificate {
			return invalid("k8s-auth-type", "with a client certificate it is %s", v2.K8sAuthTypeCertificate)
		}
	default:
		return invalid("k8s-auth-type", "use %s or %s", v2.K8sAuthTypeToken, v2.K8sAuthTypeCertificate)
	}
	return nil
}

func getConfig(ctx context.Context, by *Session, r *v2.GetK8sAuthConfig) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	c, err := by.AuthConfig(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return tellConfig(&c), nil
}

func deleteConfig(ctx context.Context, by *Session, r *v2.DeleteK8sAuthConfig) (any, error) {
	if err := required("name", r.Name); err != nil {
		return nil, err
	}
	if err := by.DeleteAuthConfig(ctx, r.Name); err != nil {
		return nil, err
	}
	return v2.ConfigChanged{}, nil
}

func getGatewayConfig(ctx context.Context, by *Session, _ *v2.GetConfig) (any, error) {
	configs, err := by.ListAuthConfigs(ctx)
	if err != nil {
		return nil, err
	}
	told := make([]v2.K8sAuthConfig, 0, len(configs))
	for i := range configs {
		told = append(told, tellConfig(&configs[i]))
	}
	return v2.GatewayConfig{K8sAuths: v2.K8sAuths{K8sAuths: told}}, nil
}

func changeOf(c *catalog.AuthConfig) (any, error) {
	text, err := json.Marshal(tellConfig(c), json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("write the auth config: %w", err)
	}
	sum := sha256.Sum256(text)
	return v2.ConfigChanged{ClusterID: c.ID, TotalHash: hex.EncodeToString(sum[:])}, nil
}

// tellConfig leaves keys and the reviewer's token out, whatever it is given.
func tellConfig(c *catalog.AuthConfig) v2.K8sAuthConfig {
	told := v2.K8sAuthConfig{
		ID:                c.ID,
		Name:              c.Name,
		AccessID:          c.AccessID,
		K8sHost:           c.Host,
		K8sCACert:         base64.StdEncoding.EncodeToString([]byte(c.CACert)),
		ClientCertificate: base64.StdEncoding.EncodeToString([]byte(c.ClientCert)),
		K8sAuthType:       v2.K8sAuthTypeToken,
		K8sIssuer:         c.Issuer,
		DisableIssuer:     c.DisableIssuerValidation,
		ClusterAPIType:    v2.ClusterNative,
		TokenExpiration:   int64(c.TokenExpiration / time.Second),
		UseLocalCAJWT:     c.Reviewer == catalog.ReviewerGateway,
		Reviewer:          string(c.Reviewer),
		FromFile:          c.FromFile,
	}
	if c.Issuer == "" {
		told.K8sIssuer = v2.DefaultIssuer
	}
	if c.Reviewer == catalog.ReviewerCertificate {
		told.K8sAuthType = v2.K8sAuthTypeCertificate
	}
	return told
}
