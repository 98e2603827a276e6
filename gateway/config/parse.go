package config

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
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
		Name           string      `json:"name"`
		AccessID       string      `json:"accessID"`
		AccessExpires  string      `json:"accessExpires"`
		SessionTTL     string      `json:"sessionTTL"`
		SessionMaxTTL  string      `json:"sessionMaxTTL"`
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
	if err := oneDocument(data); err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("the file is not YAML: %s", flat(err))
	}
	var f file
	unknown, err := kjson.UnmarshalStrict(asJSON, &f)
	if err != nil {
		return nil, shapeError(err)
	}
	var errs field.ErrorList
	for _, u := range unknown {
		errs = append(errs, strictError(u))
	}
	cfg, invalid := f.validate()
	errs = append(errs, invalid...)
	if len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return cfg, nil
}

// oneDocument refuses a second YAML document, which the YAML library would
// silently leave out.
func oneDocument(data []byte) error {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	count := 0
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the file is not YAML: %s", flat(err))
		}
		if len(bytes.TrimSpace(document)) > 0 {
			count++
		}
	}
	switch count {
	case 0:
		return fmt.Errorf("the file is empty; it must hold apiVersion: %s and kind: %s", APIVersion, Kind)
	case 1:
		return nil
	}
	return fmt.Errorf("the file holds %d YAML documents; put everything in one", count)
}

// shapeError explains a value of another type than its field's.
func shapeError(err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) && mismatch.Field != "" {
		return fmt.Errorf("the file does not have the shape of a %s: %s must be a %s, not a JSON %s",
			Kind, mismatch.Field, mismatch.Type, mismatch.Value)
	}
	return fmt.Errorf("the file does not have the shape of a %s: %s", Kind, flat(err))
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

// flat puts a library's message of several lines on one.
func flat(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
