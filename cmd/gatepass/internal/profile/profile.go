// Package profile keeps the gateways that a person works with, and how to log in
// to each, in a configuration file. The file names where an access key is; it never
// holds one.
package profile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/internal/strictyaml"
)

// What the file is.
const (
	APIVersion = "config.gatepass.dev/v1alpha1"
	Kind       = "CommandLineConfig"
)

// Default is the name of the profile that is used when none is named.
const Default = "default"

// The ways to log in.
const (
	AccessTypeK8s = "k8s"
	AccessTypeKey = "access_key"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

// Profile is a gateway and, if AccessID is set, how to log in to it.
type Profile struct {
	GatewayURL string `json:"gatewayURL"`
	// CAFile has the PEM certificates that the gateway's is verified with.
	CAFile string `json:"caFile,omitempty"`
	// TLSServerName is whom that certificate must be for, if not GatewayURL's host.
	TLSServerName string `json:"tlsServerName,omitempty"`
	// ClientCertificateFile and ClientKeyFile are for a gateway that asks for a
	// certificate, in PEM.
	ClientCertificateFile string `json:"clientCertificateFile,omitempty"`
	ClientKeyFile         string `json:"clientKeyFile,omitempty"`

	AccessID string `json:"accessID,omitempty"`
	// AccessType is AccessTypeK8s or AccessTypeKey.
	AccessType string `json:"accessType,omitempty"`
	// AccessKeyFile or AccessKeyEnv say where the key of AccessTypeKey is.
	AccessKeyFile string `json:"accessKeyFile,omitempty"`
	AccessKeyEnv  string `json:"accessKeyEnv,omitempty"`
	// AuthConfig and ServiceAccountTokenFile belong to AccessTypeK8s; without the
	// file, the pod's own token is used.
	AuthConfig              string `json:"authConfig,omitempty"`
	ServiceAccountTokenFile string `json:"serviceAccountTokenFile,omitempty"`
}

// Config is the file.
type Config struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Profiles   map[string]Profile `json:"profiles"`
}

// Path is where the file lies: gatepass/config.yaml in the user's configuration
// folder, which is $XDG_CONFIG_HOME or ~/.config on Linux.
func Path() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("the configuration file has no place: %w", err)
	}
	return filepath.Join(dir, "gatepass", "config.yaml"), nil
}

// Names lists the profiles in order.
func (c *Config) Names() []string { return slices.Sorted(maps.Keys(c.Profiles)) }

// Load reads the file. One that does not exist has no profiles.
func Load(path string) (*Config, error) {
	f, err := os.Open(path) //nolint:gosec // the user's own file
	if errors.Is(err, fs.ErrNotExist) {
		return &Config{APIVersion: APIVersion, Kind: Kind, Profiles: map[string]Profile{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the configuration file: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("the configuration file: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		// Whoever can write it decides which server gets the access key.
		return nil, fmt.Errorf("%s may be written by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the configuration file: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	c, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// parse reports every mistake at once.
func parse(data []byte) (*Config, error) {
	c := new(Config)
	mistakes, err := strictyaml.Decode(data, c)
	switch {
	case errors.Is(err, strictyaml.ErrEmpty):
		return nil, fmt.Errorf("it is empty; it must hold a %s of %s", Kind, APIVersion)
	case err != nil:
		return nil, fmt.Errorf("not a valid %s: %w", Kind, err)
	}
	errs := mistakes.Unknown
	for _, e := range append(mistakes.Types, mistakes.Filter(c.mistakes())...) {
		errs = append(errs, e)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("invalid %s: %w", Kind, err)
	}
	if c.Profiles == nil {
		c.Profiles = map[string]Profile{}
	}
	return c, nil
}

// Check reports every mistake at once.
func (c *Config) Check() error { return c.mistakes().ToAggregate() }

func (c *Config) mistakes() field.ErrorList {
	var errs field.ErrorList
	if c.APIVersion != APIVersion {
		errs = append(errs, field.NotSupported(field.NewPath("apiVersion"), c.APIVersion, []string{APIVersion}))
	}
	if c.Kind != Kind {
		errs = append(errs, field.NotSupported(field.NewPath("kind"), c.Kind, []string{Kind}))
	}
	for _, name := range c.Names() {
		p := field.NewPath("profiles").Key(name)
		for _, problem := range validation.IsDNS1123Label(name) {
			errs = append(errs, field.Invalid(p, name, problem))
		}
		entry := c.Profiles[name]
		errs = append(errs, entry.check(p)...)
	}
	return errs
}

func (p *Profile) check(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if err := config.CheckURL(p.GatewayURL); err != nil {
		// The value is not quoted: a wrong one may hold a password.
		errs = append(errs, field.Invalid(at.Child("gatewayURL"), field.OmitValueType{}, err.Error()))
	}
	if (p.ClientCertificateFile == "") != (p.ClientKeyFile == "") {
		errs = append(errs, field.Required(at.Child("clientCertificateFile"), "clientCertificateFile and clientKeyFile go together"))
	}
	if p.AccessID == "" {
		for _, f := range []struct{ name, value string }{
			{"accessType", p.AccessType}, {"accessKeyFile", p.AccessKeyFile}, {"accessKeyEnv", p.AccessKeyEnv},
			{"authConfig", p.AuthConfig}, {"serviceAccountTokenFile", p.ServiceAccountTokenFile},
		} {
			if f.value != "" {
				errs = append(errs, field.Forbidden(at.Child(f.name), "it is of no use without accessID"))
			}
		}
		return errs
	}
	key, k8s := p.AccessKeyFile != "" || p.AccessKeyEnv != "", p.AuthConfig != "" || p.ServiceAccountTokenFile != ""
	switch p.AccessType {
	case AccessTypeKey:
		if (p.AccessKeyFile == "") == (p.AccessKeyEnv == "") {
			errs = append(errs, field.Required(at.Child("accessKeyFile"), "set it or accessKeyEnv, and not both"))
		}
		if k8s {
			errs = append(errs, field.Forbidden(at, "authConfig and serviceAccountTokenFile are for accessType "+AccessTypeK8s))
		}
	case AccessTypeK8s:
		if p.AuthConfig == "" {
			errs = append(errs, field.Required(at.Child("authConfig"), "the name of the gateway's Kubernetes auth config"))
		}
		if key {
			errs = append(errs, field.Forbidden(at, "accessKeyFile and accessKeyEnv are for accessType "+AccessTypeKey))
		}
	default:
		errs = append(errs, field.NotSupported(at.Child("accessType"), p.AccessType, []string{AccessTypeK8s, AccessTypeKey}))
	}
	return errs
}

// Save checks the configuration and writes the file with mode 0600. A reader
// never sees half of it.
func (c *Config) Save(path string) error {
	if err := c.Check(); err != nil {
		return err
	}
	data, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return WriteFile(path, data)
}

// WriteFile writes a file that only the user may read, and its folder. A reader
// never sees half of it.
func WriteFile(path string, data []byte) (err error) {
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of %s: %w", path, err)
	}
	f, err := os.CreateTemp(dir, "."+name+".*") // its mode is 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
		}
	}()
	_, wrong := f.Write(data)
	if err := errors.Join(wrong, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
