package config

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gatepass/gatepass/internal/visible"
)

// maxName bounds names, which travel in requests, logs and claims.
const maxName = 253

// administratorMethod is the name of the auth method that the administrator's access
// key belongs to. Another one of this name would hide it.
const administratorMethod = "admin"

func (f *file) validate() (*Config, field.ErrorList) {
	var errs field.ErrorList
	if f.APIVersion != APIVersion {
		errs = append(errs, field.NotSupported(field.NewPath("apiVersion"), f.APIVersion, []string{APIVersion}))
	}
	if f.Kind != Kind {
		errs = append(errs, field.NotSupported(field.NewPath("kind"), f.Kind, []string{Kind}))
	}
	cfg := &Config{Issuer: f.Issuer}
	errs = append(errs, checkIssuer(field.NewPath("issuer"), f.Issuer)...)

	names, ids := map[string]bool{}, map[string]bool{}
	for i, entry := range f.AuthMethods {
		path := field.NewPath("authMethods").Index(i)
		method, invalid := entry.validate(path)
		errs = append(errs, invalid...)
		errs = append(errs, distinct(path.Child("name"), names, entry.Name)...)
		errs = append(errs, distinct(path.Child("accessID"), ids, entry.AccessID)...)
		cfg.AuthMethods = append(cfg.AuthMethods, method)
	}
	names = map[string]bool{}
	for i, entry := range f.KubernetesAuthConfigs {
		path := field.NewPath("kubernetesAuthConfigs").Index(i)
		authConfig, invalid := entry.validate(path)
		errs = append(errs, invalid...)
		errs = append(errs, distinct(path.Child("name"), names, entry.Name)...)
		if entry.AccessID != "" && !ids[entry.AccessID] {
			errs = append(errs, notFound(path.Child("accessID"), entry.AccessID, "no auth method has this access id"))
		}
		cfg.KubernetesAuthConfigs = append(cfg.KubernetesAuthConfigs, authConfig)
	}
	return cfg, append(errs, f.validateRoles(cfg)...)
}

func (e *methodEntry) validate(path *field.Path) (AuthMethod, field.ErrorList) {
	m := AuthMethod{Name: e.Name, AccessID: e.AccessID, SessionTTL: DefaultSessionTTL}
	errs := checkName(path.Child("name"), e.Name)
	if strings.Trim(e.Name, "/") == administratorMethod {
		errs = append(errs, field.Forbidden(path.Child("name"), "the auth method admin is the administrator's; choose another name"))
	}
	errs = append(errs, checkAccessID(path.Child("accessID"), e.AccessID)...)
	if e.AccessExpires != "" {
		t, err := time.Parse(time.RFC3339, e.AccessExpires)
		if err != nil {
			errs = append(errs, field.Invalid(path.Child("accessExpires"), e.AccessExpires, "must be an RFC 3339 time in quotes, for example \"2030-01-01T00:00:00Z\""))
		}
		m.AccessExpires = t
	}
	for _, life := range []struct {
		name, value string
		set         *time.Duration
	}{{"sessionTTL", e.SessionTTL, &m.SessionTTL}, {"sessionMaxTTL", e.SessionMaxTTL, &m.SessionMaxTTL}} {
		if life.value == "" {
			continue
		}
		d, err := time.ParseDuration(life.value)
		if err != nil || d < MinSessionTTL || d > MaxSessionTTL {
			errs = append(errs, field.Invalid(path.Child(life.name), life.value, fmt.Sprintf("must be a duration from %s to %s, for example 15m", MinSessionTTL, MaxSessionTTL)))
		}
		*life.set = d
	}
	if e.SigningKeyFile != "" {
		errs = append(errs, field.Forbidden(path.Child("signingKeyFile"), "sessions are signed with keys of the gateway, and of no auth method; remove the field, and start the gateway with --signing-keys-file if it shall sign with keys of yours"))
	}
	errs = append(errs, notEmpty(path.Child("boundIPs"), e.BoundIPs)...)
	for i, text := range e.BoundIPs {
		prefix, err := ParsePrefix(text)
		if err != nil {
			errs = append(errs, field.Invalid(path.Child("boundIPs").Index(i), text, "must be an address or a CIDR, for example 10.0.0.0/8"))
		}
		m.BoundIPs = append(m.BoundIPs, prefix)
	}
	if e.Kubernetes == nil {
		return m, append(errs, field.Required(path.Child("kubernetes"), "say who may log in; `kubernetes: {audience: gatepass}` lets in every service account of the cluster"))
	}
	rules, invalid := e.Kubernetes.validate(path.Child("kubernetes"))
	m.Kubernetes = rules
	return m, append(errs, invalid...)
}

func (e *rulesEntry) validate(path *field.Path) (KubernetesRules, field.ErrorList) {
	var errs field.ErrorList
	if e.Audience != strings.TrimSpace(e.Audience) {
		errs = append(errs, field.Invalid(path.Child("audience"), e.Audience, "must not begin or end with white space"))
	}
	for _, list := range []struct {
		name    string
		entries []string
	}{
		{"boundNamespaces", e.BoundNamespaces},
		{"boundPodNames", e.BoundPodNames},
		{"boundServiceAccountNames", e.BoundServiceAccountNames},
	} {
		errs = append(errs, notEmpty(path.Child(list.name), list.entries)...)
		for i, pattern := range list.entries {
			// Lower case letters, digits, - and . are what Kubernetes names are made
			// of (RFC 1123). Anything else, a comma first of all, is a pattern that
			// never matches and an administrator who thinks that it does.
			if !ValidPattern(pattern) {
				errs = append(errs, field.Invalid(path.Child(list.name).Index(i), pattern, "must be one name of lower case letters, digits, '-' and '.', with * and ? as wildcards"))
			}
		}
	}
	return KubernetesRules{
		Audience:                 e.Audience,
		BoundNamespaces:          e.BoundNamespaces,
		BoundPodNames:            e.BoundPodNames,
		BoundServiceAccountNames: e.BoundServiceAccountNames,
	}, errs
}

func (e *authConfigEntry) validate(path *field.Path) (KubernetesAuthConfig, field.ErrorList) {
	errs := checkName(path.Child("name"), e.Name)
	if e.AccessID == "" {
		errs = append(errs, field.Required(path.Child("accessID"), "name the access id of an auth method"))
	}
	if e.Host != "" {
		if detail := CheckURL(e.Host); detail != "" {
			errs = append(errs, field.Invalid(path.Child("host"), e.Host, detail))
		}
	}
	errs = append(errs, checkFile(path.Child("caFile"), e.CAFile)...)
	if e.CAFile != "" && e.CABundle != "" {
		errs = append(errs, field.Forbidden(path.Child("caBundle"), "may not be set together with caFile"))
	}
	if e.CABundle != "" {
		if err := CheckBundle(e.CABundle); err != nil {
			errs = append(errs, field.Invalid(path.Child("caBundle"), "(PEM)", err.Error()))
		}
	}
	c := KubernetesAuthConfig{Name: e.Name, AccessID: e.AccessID, Host: e.Host, CAFile: e.CAFile, CABundle: e.CABundle}
	if e.Reviewer == nil {
		return c, append(errs, field.Required(path.Child("reviewer"), "say as whom tokens are reviewed; `reviewer: {type: gateway}` is the usual choice"))
	}
	reviewer, invalid := e.Reviewer.validate(path.Child("reviewer"))
	c.Reviewer = reviewer
	return c, append(errs, invalid...)
}

func (e *reviewerEntry) validate(path *field.Path) (Reviewer, field.ErrorList) {
	var errs field.ErrorList
	r := Reviewer{Type: ReviewerType(e.Type), TokenFile: e.TokenFile, CertFile: e.CertFile, KeyFile: e.KeyFile}
	switch r.Type {
	case ReviewerGateway, ReviewerToken, ReviewerCertificate, ReviewerSelf:
	case "":
		return r, field.ErrorList{field.Required(path.Child("type"), "use gateway, token, certificate or self")}
	default:
		return r, field.ErrorList{field.NotSupported(path.Child("type"), r.Type,
			[]ReviewerType{ReviewerGateway, ReviewerToken, ReviewerCertificate, ReviewerSelf})}
	}
	for _, f := range []struct {
		name, value string
		of          ReviewerType
	}{
		{"tokenFile", e.TokenFile, ReviewerToken},
		{"certFile", e.CertFile, ReviewerCertificate},
		{"keyFile", e.KeyFile, ReviewerCertificate},
	} {
		child := path.Child(f.name)
		switch {
		case f.of == r.Type && f.value == "":
			errs = append(errs, field.Required(child, fmt.Sprintf("reviewer type %s needs it", r.Type)))
		case f.of != r.Type && f.value != "":
			errs = append(errs, field.Forbidden(child, fmt.Sprintf("belongs to reviewer type %s, not %s", f.of, r.Type)))
		default:
			errs = append(errs, checkFile(child, f.value)...)
		}
	}
	return r, errs
}

var (
	patternSyntax = regexp.MustCompile(`^[a-z0-9.*?-]{1,253}$`)
	// accessIDSyntax is looser than what the original product makes (12 or 14
	// characters): its own documentation shows ids of 11.
	accessIDSyntax = regexp.MustCompile(`^p-[A-Za-z0-9]{8,32}$`)
)

// ValidPattern says whether a text is a pattern for Kubernetes names.
func ValidPattern(text string) bool { return patternSyntax.MatchString(text) }

func checkAccessID(path *field.Path, id string) field.ErrorList {
	switch {
	case id == "":
		return field.ErrorList{field.Required(path, "choose one, for example p-abcdefghij12km")}
	case !accessIDSyntax.MatchString(id):
		return field.ErrorList{field.Invalid(path, id, "must be p- and 8 to 32 letters and digits, for example p-abcdefghij12km")}
	}
	return nil
}

func checkName(path *field.Path, name string) field.ErrorList {
	_, hidden := visible.Hidden(name)
	switch {
	case name == "":
		return field.ErrorList{field.Required(path, "choose a name")}
	case len(name) > maxName:
		return field.ErrorList{field.TooLong(path, "", maxName)}
	case hidden || name != strings.TrimSpace(name):
		return field.ErrorList{field.Invalid(path, name, "must hold only characters that can be seen, and must not begin or end with white space")}
	}
	return nil
}

// notEmpty refuses a list that is there without an entry: it reads like nobody,
// and would mean everybody.
func notEmpty(path *field.Path, list []string) field.ErrorList {
	if list != nil && len(list) == 0 {
		return field.ErrorList{field.Invalid(path, list, "must have an entry; an empty list would let everybody in: leave it out if that is meant")}
	}
	return nil
}

func distinct(path *field.Path, seen map[string]bool, value string) field.ErrorList {
	if value == "" {
		return nil // reported as missing already
	}
	if seen[value] {
		return field.ErrorList{field.Duplicate(path, value)}
	}
	seen[value] = true
	return nil
}

func notFound(path *field.Path, value, detail string) *field.Error {
	err := field.NotFound(path, value)
	err.Detail = detail
	return err
}

func checkFile(path *field.Path, name string) field.ErrorList {
	if name != "" && !filepath.IsAbs(name) {
		return field.ErrorList{field.Invalid(path, name, "must be an absolute path")}
	}
	return nil
}

func checkIssuer(path *field.Path, issuer string) field.ErrorList {
	if issuer == "" {
		return field.ErrorList{field.Required(path, "the gateway's address as its clients see it, for example https://gatepass-gateway.gatepass-system.svc:8000")}
	}
	detail := CheckURL(issuer)
	if detail == "" && strings.HasSuffix(issuer, "/") {
		detail = "must not end with a slash"
	}
	if u, err := url.Parse(issuer); detail == "" && err == nil && u.Path != "" {
		// Verifiers ask <issuer>/.well-known/openid-configuration.
		detail = "must not have a path: the gateway answers at the root of its address"
	}
	if detail != "" {
		return field.ErrorList{field.Invalid(path, issuer, detail)}
	}
	return nil
}

// CheckURL says what is wrong with the address of a server, or "".
func CheckURL(v string) string {
	u, err := url.Parse(v)
	switch {
	case err != nil:
		return "must be a URL"
	case u.Scheme != "https":
		return "must begin with https://"
	case u.Hostname() == "":
		return "must name a host"
	case u.User != nil:
		return "must not hold a user or password"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "must not have a query or fragment"
	}
	return ""
}

// CheckBundle says what is wrong with certificates in PEM.
func CheckBundle(bundle string) error {
	rest, count := []byte(bundle), 0
	for {
		block, after := pem.Decode(rest)
		looked, blocks := rest, 0
		if block != nil {
			looked, blocks = rest[:len(rest)-len(after)], 1
		}
		// Decode skips a block that it can't read.
		if bytes.Count(looked, []byte("-----BEGIN")) > blocks {
			return fmt.Errorf("block %d is cut off or is not valid PEM; each BEGIN and END must have a line of its own", count+1)
		}
		if block == nil {
			break
		}
		rest = after
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("holds a %s; only certificates belong here", block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("certificate %d can't be read: %w", count+1, err)
		}
		count++
	}
	if count == 0 {
		return errors.New("holds no PEM certificate")
	}
	return nil
}

// ParsePrefix reads an address or a CIDR. IPv4 in the form of IPv6 becomes
// IPv4, as clients' addresses do.
func ParsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.Unmap().WithZone("")
		return addr.Prefix(addr.BitLen())
	}
	const mapped = 96 // bits before the IPv4 address, RFC 4291, section 2.5.5.2
	prefix, err := netip.ParsePrefix(text)
	if err == nil && prefix.Addr().Is4In6() && prefix.Bits() >= mapped {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped)
	}
	return prefix.Masked(), err
}
