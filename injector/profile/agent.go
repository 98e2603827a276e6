package profile

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/internal/visible"
)

func (v *validator) agent(p *field.Path, c *Agent, r *Resolved) {
	r.Image, r.ImagePullPolicy = c.Image, c.ImagePullPolicy
	if err := CheckImage(c.Image); err != nil {
		v.invalid(p.Child("image"), c.Image, err.Error())
	}
	switch c.ImagePullPolicy {
	case "", "Always", "IfNotPresent", "Never":
	default:
		v.errs = append(v.errs, field.NotSupported(p.Child("imagePullPolicy"), c.ImagePullPolicy, []string{"Always", "IfNotPresent", "Never"}))
	}
	r.ImagePullSecrets = v.secrets(p.Child("imagePullSecrets"), c.ImagePullSecrets)
	var err error
	if c.Mode != "" {
		if r.Agent.Mode, err = config.ParseMode(c.Mode); err != nil {
			v.invalid(p.Child("mode"), c.Mode, err.Error())
		}
	}
	if c.Timeout != "" {
		if r.Agent.Timeout, err = config.ParseTimeout(c.Timeout); err != nil {
			v.invalid(p.Child("timeout"), c.Timeout, err.Error())
		}
	}
	if c.CheckInterval != "" {
		if r.Agent.CheckInterval, err = config.ParseCheckInterval(c.CheckInterval); err != nil {
			v.invalid(p.Child("checkInterval"), c.CheckInterval, err.Error())
		}
	}
	if c.LogLevel != "" {
		if r.Agent.LogLevel, err = config.ParseLogLevel(c.LogLevel); err != nil {
			v.invalid(p.Child("logLevel"), c.LogLevel, err.Error())
		}
	}
	if c.MetricsPort != 0 {
		r.Agent.MetricsAddress = ":" + strconv.Itoa(c.MetricsPort)
		if c.MetricsPort < minMetricsPort || c.MetricsPort > math.MaxUint16 {
			v.invalid(p.Child("metricsPort"), c.MetricsPort, fmt.Sprintf("must be %d to %d: lower ports are root's, whom the agent does not run as", minMetricsPort, math.MaxUint16))
		}
	}
	r.RunAsUser, r.RunAsGroup = c.RunAsUser, c.RunAsGroup
	v.id(p.Child("runAsUser"), c.RunAsUser)
	v.id(p.Child("runAsGroup"), c.RunAsGroup)
	r.Resources = c.Resources
	v.resources(p.Child("resources"), c.Resources)
}

func (v *validator) secrets(p *field.Path, references []SecretReference) []string {
	var names []string
	for i, reference := range references {
		if reasons := validation.IsDNS1123Subdomain(reference.Name); len(reasons) > 0 {
			v.invalid(p.Index(i).Child("name"), reference.Name, strings.Join(reasons, "; "))
		} else if slices.Contains(names, reference.Name) {
			v.errs = append(v.errs, field.Duplicate(p.Index(i).Child("name"), reference.Name))
		}
		names = append(names, reference.Name)
	}
	return names
}

// minMetricsPort is the lowest that needs no privilege on every node, see
// ip_unprivileged_port_start in the kernel's ip-sysctl.
const minMetricsPort = 1024

func (v *validator) id(p *field.Path, id *int64) {
	if id == nil {
		return
	}
	if err := CheckID(*id); err != nil {
		v.invalid(p, *id, err.Error())
	}
}

func (v *validator) resources(p *field.Path, r Resources) {
	for _, part := range []struct {
		path    *field.Path
		amounts Amounts
		check   func(resource, v string) error
	}{{p.Child("requests"), r.Requests, CheckRequest}, {p.Child("limits"), r.Limits, CheckLimit}} {
		for _, a := range part.amounts.List() {
			if err := part.check(a.Resource, a.Quantity); err != nil {
				v.invalid(part.path.Child(a.Resource), a.Quantity, err.Error())
			}
		}
	}
	if err := r.Check(); err != nil {
		v.invalid(p, "", err.Error())
	}
}

// Check reports a request above its limit, which the API server would refuse.
// Quantities that can't be parsed are CheckQuantity's to report.
func (r Resources) Check() error {
	var errs []error
	limits := r.Limits.List()
	for n, a := range r.Requests.List() {
		if a.Quantity == "" || limits[n].Quantity == "" {
			continue
		}
		request, err := ParseQuantity(a.Quantity)
		if err != nil {
			continue
		}
		limit, err := ParseQuantity(limits[n].Quantity)
		if err != nil {
			continue
		}
		if request.Cmp(limit) > 0 {
			errs = append(errs, fmt.Errorf("the request for %s (%s) is above its limit (%s)", a.Resource, a.Quantity, limits[n].Quantity))
		}
	}
	return errors.Join(errs...)
}

// CheckImage reports why v can't name an image.
func CheckImage(v string) error {
	switch {
	case v == "":
		return errors.New("must be set, for example ghcr.io/gatepass/agent:v0.1.0")
	case strings.IndexFunc(v, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) >= 0:
		return fmt.Errorf("%q holds white space", v)
	}
	return nil
}

// CheckID reports why the agent can't be told to run as a user or group. The
// upper bound is that of Kubernetes' own validation of runAsUser. Root can't
// be asked for: the restricted Pod Security Standard forbids it, and nothing
// that the agent does needs it.
func CheckID(id int64) error {
	if id < 1 || id > math.MaxInt32 {
		return fmt.Errorf("%d is out of range; use 1 to %d", id, math.MaxInt32)
	}
	return nil
}

// CheckExpiration reports why s can't be a projected token's life in seconds.
func CheckExpiration(s int64) error {
	if s < MinExpirationSeconds || s > MaxExpirationSeconds {
		return fmt.Errorf("%d is out of range; Kubernetes takes %d to %d seconds", s, MinExpirationSeconds, int64(MaxExpirationSeconds))
	}
	return nil
}

// maxText bounds names that are passed on: the longest that Kubernetes itself
// uses is a DNS subdomain of 253 characters.
const maxText = 253

// CheckText reports characters that a name which is passed on can't hold.
func CheckText(v string) error {
	if len(v) > maxText {
		return fmt.Errorf("is longer than %d bytes", maxText)
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r == ' ' || r == unicode.ReplacementChar || !visible.Rune(r) }) {
		return fmt.Errorf("%q holds white space or characters that can't be seen", v)
	}
	return nil
}
