package profile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/internal/strictyaml"
)

// Defaults of the projected token. 600 s is the least that the API server
// takes (validation of serviceAccountToken projections in k8s.io/kubernetes).
const (
	DefaultAudience          = "gatepass"
	MinExpirationSeconds     = 600
	MaxExpirationSeconds     = 1 << 32
	DefaultExpirationSeconds = MinExpirationSeconds
)

// maxCABundle bounds what is copied into every injected pod: etcd takes
// objects up to 1.5 MiB, and a pod shares that with everything else in it.
const maxCABundle = 64 << 10

// Options are what Parse needs from the world.
type Options struct {
	// ReadFile reads a profile's caFile.
	ReadFile func(name string) ([]byte, error)
	// Overridable lists the annotations that overrides may name.
	Overridable []string
}

// Parse reads a file of profiles. Its error lists every mistake, each with
// the path of the field and what would be right.
func Parse(data []byte, o Options) (*Set, error) {
	c := new(InjectorConfig)
	mistakes, err := strictyaml.Decode(data, c)
	switch {
	case errors.Is(err, strictyaml.ErrEmpty):
		return nil, fmt.Errorf("%w; it must hold a %s of %s", err, Kind, APIVersion)
	case err != nil:
		return nil, fmt.Errorf("not a valid %s: %w", Kind, err)
	}
	v := validator{options: o}
	set := v.file(c)
	errs := mistakes.Unknown
	for _, e := range append(mistakes.Types, mistakes.Filter(v.errs)...) {
		errs = append(errs, e)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("invalid %s: %w", Kind, err)
	}
	return set, nil
}

type validator struct {
	options Options
	errs    field.ErrorList
}

func (v *validator) invalid(p *field.Path, value any, detail string) {
	v.errs = append(v.errs, field.Invalid(p, value, detail))
}

func (v *validator) file(c *InjectorConfig) *Set {
	if c.APIVersion != APIVersion {
		v.errs = append(v.errs, field.NotSupported(field.NewPath("apiVersion"), c.APIVersion, []string{APIVersion}))
	}
	if c.Kind != Kind {
		v.errs = append(v.errs, field.NotSupported(field.NewPath("kind"), c.Kind, []string{Kind}))
	}
	root := field.NewPath("profiles")
	if len(c.Profiles) == 0 {
		v.errs = append(v.errs, field.Required(root, "at least one profile is needed; pods that name none use \"default\""))
	}
	set := &Set{profiles: make(map[string]*Resolved, len(c.Profiles))}
	for name := range c.Profiles {
		set.names = append(set.names, name)
	}
	slices.Sort(set.names)
	mirrors := v.imageMirrors(field.NewPath("imageMirrors"), c.ImageMirrors)
	for _, name := range set.names {
		p := root.Key(name)
		for _, msg := range validation.IsDNS1123Label(name) {
			v.invalid(p, name, msg)
		}
		entry := c.Profiles[name]
		set.profiles[name] = v.profile(p, name, &entry)
		set.profiles[name].ImageMirrors = mirrors
	}
	return set
}

func (v *validator) profile(p *field.Path, name string, c *Profile) *Resolved {
	r := &Resolved{Name: name, Agent: config.Default()}
	v.gateway(p.Child("gateway"), &c.Gateway, r)
	v.login(p.Child("login"), &c.Login, r)
	v.token(p.Child("token"), &c.Token, r)
	v.agent(p.Child("agent"), &c.Agent, r)
	r.ExcludeContainers = v.containers(p.Child("excludeContainers"), c.ExcludeContainers)
	r.overrides = v.overrides(p.Child("overrides"), c.Overrides)
	return r
}

func (v *validator) gateway(p *field.Path, c *Gateway, r *Resolved) {
	if c.Protocol != "" {
		protocol, err := config.ParseProtocol(c.Protocol)
		if err != nil {
			v.errs = append(v.errs, field.NotSupported(p.Child("protocol"), c.Protocol,
				[]string{string(config.ProtocolGateway), string(config.ProtocolVault)}))
		} else {
			r.Agent.Protocol = protocol
		}
	}
	if err := config.CheckURL(c.URL); err != nil {
		v.invalid(p.Child("url"), c.URL, err.Error())
	}
	r.Agent.GatewayURL = strings.TrimRight(c.URL, "/")
	if err := config.CheckProxy(c.Proxy); err != nil {
		// The value is not repeated: it may hold a password.
		v.invalid(p.Child("proxy"), "", err.Error())
	}
	r.Agent.Proxy = c.Proxy
	r.Agent.CABundle = v.caBundle(p, c)
}

func (v *validator) caBundle(p *field.Path, c *Gateway) string {
	where, bundle := p.Child("caBundle"), c.CABundle
	switch {
	case c.CAFile != "" && c.CABundle != "":
		v.errs = append(v.errs, field.Forbidden(p.Child("caFile"), "caBundle is given as well; give one of them"))
		return ""
	case c.CAFile != "":
		where = p.Child("caFile")
		data, err := v.options.ReadFile(c.CAFile)
		if err != nil {
			v.invalid(where, c.CAFile, fmt.Sprintf("can't be read: %v", err))
			return ""
		}
		bundle = string(data)
	case bundle == "":
		return ""
	}
	clean, err := certificates(bundle)
	if err != nil {
		// The value is not repeated: a file named by mistake may be a key.
		v.invalid(where, c.CAFile, err.Error())
	}
	return clean
}

// certificates returns the PEM certificates of a bundle and nothing else, so
// that comments, or a private key in the same file, never reach a pod.
func certificates(bundle string) (string, error) {
	var out bytes.Buffer
	for rest := []byte(bundle); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			// A file that is being written, or was cut in copying.
			if bytes.Contains(rest, []byte("-----BEGIN")) {
				return "", errors.New("holds a PEM block that is cut off or damaged")
			}
			break
		}
		if block.Type != "CERTIFICATE" {
			return "", fmt.Errorf("holds a PEM block %q; only CERTIFICATE blocks may be given to pods", block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "", fmt.Errorf("holds a certificate that can't be parsed: %w", err)
		}
		block.Headers = nil
		if err := pem.Encode(&out, block); err != nil {
			return "", fmt.Errorf("holds a certificate that can't be written: %w", err)
		}
	}
	switch {
	case out.Len() == 0:
		return "", errors.New("holds no PEM certificate")
	case out.Len() > maxCABundle:
		return "", fmt.Errorf("is larger than %d bytes; every injected pod carries a copy, so give only the authority that signed the gateway's certificate", maxCABundle)
	}
	return out.String(), nil
}

func (v *validator) login(p *field.Path, c *Login, r *Resolved) {
	r.Agent.AccessID, r.Agent.AuthConfig = c.AccessID, c.AuthConfig
	r.Agent.Role, r.Agent.AuthNamespace = c.Role, c.Namespace
	if c.AuthPath != "" {
		r.Agent.AuthPath = strings.Trim(c.AuthPath, "/")
	}
	type entry struct{ name, value string }
	native := []entry{{"accessID", c.AccessID}, {"authConfig", c.AuthConfig}}
	vault := []entry{{"role", c.Role}, {"authPath", c.AuthPath}, {"namespace", c.Namespace}}
	required, foreign := native, vault
	if r.Agent.Protocol == config.ProtocolVault {
		required, foreign = vault[:1], native
	}
	for _, e := range required {
		if e.value == "" {
			v.errs = append(v.errs, field.Required(p.Child(e.name), fmt.Sprintf("protocol %s needs it", r.Agent.Protocol)))
		}
	}
	for _, e := range foreign {
		if e.value != "" {
			v.errs = append(v.errs, field.Forbidden(p.Child(e.name), fmt.Sprintf("protocol %s has no use for it; remove it or change gateway.protocol", r.Agent.Protocol)))
		}
	}
	for _, e := range append(native, vault...) {
		if err := CheckText(e.value); err != nil {
			v.invalid(p.Child(e.name), e.value, err.Error())
		}
	}
}

func (v *validator) token(p *field.Path, c *Token, r *Resolved) {
	r.Audience, r.ExpirationSeconds = DefaultAudience, DefaultExpirationSeconds
	if c.Audience != "" {
		r.Audience = c.Audience
	}
	if err := CheckText(r.Audience); err != nil {
		v.invalid(p.Child("audience"), r.Audience, err.Error())
	}
	if c.ExpirationSeconds != nil {
		r.ExpirationSeconds = *c.ExpirationSeconds
	}
	if err := CheckExpiration(r.ExpirationSeconds); err != nil {
		v.invalid(p.Child("expirationSeconds"), r.ExpirationSeconds, err.Error())
	}
}

func (v *validator) overrides(p *field.Path, names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for i, name := range names {
		switch {
		case !slices.Contains(v.options.Overridable, name):
			v.errs = append(v.errs, field.NotSupported(p.Index(i), name, v.options.Overridable))
		case set[name]:
			v.errs = append(v.errs, field.Duplicate(p.Index(i), name))
		}
		set[name] = true
	}
	return set
}
