package config

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/gatepass/gatepass/internal/strictyaml"
)

// The file as it is written. Times, durations and addresses stay text until
// validation, so that a mistake in one is reported with its path, beside the
// others.
type (
	file struct {
		APIVersion            string            `json:"apiVersion"`
		Kind                  string            `json:"kind"`
		Issuer                string            `json:"issuer"`
		AuthMethods           []methodEntry     `json:"authMethods"`
		KubernetesAuthConfigs []authConfigEntry `json:"kubernetesAuthConfigs"`
		Roles                 []roleEntry       `json:"roles"`
	}
	methodEntry struct {
		Name          string `json:"name"`
		AccessID      string `json:"accessID"`
		AccessExpires string `json:"accessExpires"`
		SessionTTL    string `json:"sessionTTL"`
		SessionMaxTTL string `json:"sessionMaxTTL"`
		// SigningKeyFile was of versions that signed with keys of auth methods.
		SigningKeyFile string      `json:"signingKeyFile"`
		BoundIPs       []string    `json:"boundIPs"`
		Kubernetes     *rulesEntry `json:"kubernetes"`
	}
	rulesEntry struct {
		Audience                 string   `json:"audience"`
		BoundNamespaces          []string `json:"boundNamespaces"`
		BoundPodNames            []string `json:"boundPodNames"`
		BoundServiceAccountNames []string `json:"boundServiceAccountNames"`
	}
	authConfigEntry struct {
		Name     string         `json:"name"`
		AccessID string         `json:"accessID"`
		Host     string         `json:"host"`
		CAFile   string         `json:"caFile"`
		CABundle string         `json:"caBundle"`
		Reviewer *reviewerEntry `json:"reviewer"`
	}
	roleEntry struct {
		Name         string             `json:"name"`
		Description  string             `json:"description"`
		Rules        []ruleEntry        `json:"rules"`
		Associations []associationEntry `json:"associations"`
	}
	ruleEntry struct {
		Type         string   `json:"type"`
		Path         string   `json:"path"`
		Capabilities []string `json:"capabilities"`
	}
	associationEntry struct {
		AuthMethod    string            `json:"authMethod"`
		SubClaims     map[string]string `json:"subClaims"`
		CaseSensitive *bool             `json:"caseSensitive"`
	}
	reviewerEntry struct {
		Type      string `json:"type"`
		TokenFile string `json:"tokenFile"`
		CertFile  string `json:"certFile"`
		KeyFile   string `json:"keyFile"`
	}
)

// Parse reads a GatewayConfig. Its error holds every mistake in the file; it
// unwraps to a field.ErrorList's errors.
func Parse(data []byte) (*Config, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("the file has more than %d bytes", MaxSize)
	}
	var f file
	mistakes, err := strictyaml.Decode(data, &f)
	switch {
	case errors.Is(err, strictyaml.ErrEmpty):
		return nil, fmt.Errorf("%w; it must hold apiVersion: %s and kind: %s", err, APIVersion, Kind)
	case err != nil:
		return nil, err //nolint:wrapcheck // it says all there is to say
	}
	var errs field.ErrorList
	for _, u := range mistakes.Unknown {
		errs = append(errs, strictError(u))
	}
	errs = append(errs, mistakes.Types...)
	cfg, invalid := f.validate()
	errs = append(errs, mistakes.Filter(invalid)...)
	if len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return cfg, nil
}

// strictError names the path of a field that the format does not have.
func strictError(err error) *field.Error {
	path := ""
	var withPath kjson.FieldError
	if errors.As(err, &withPath) {
		path = withPath.FieldPath()
	}
	return field.Forbidden(field.NewPath(path), "unknown field")
}
