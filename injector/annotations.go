package injector

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/injector/profile"
)

// Prefix is what all of our annotation and label keys begin with.
const Prefix = "gatepass.dev/"

// The keys that are named in more than one place.
const (
	keyInject  = "inject"
	keyProfile = "profile"
	keyRevoke  = "revoke-on-exit"
	// keyContainers and keyExclude list containers with and without the session.
	keyContainers = "containers"
	keyExclude    = "exclude-containers"
	keyStatus     = "status"
)

// statusInjected is the value of the status annotation of injected pods. It
// is for people to read, and never trusted.
const statusInjected = "injected"

// Annotation describes one of our annotations.
type Annotation struct {
	// Name is the key without Prefix.
	Name string
	// Value says in a few words what may stand there.
	Value string
	// Meaning is a short sentence.
	Meaning string

	// protocol is set when the annotation is for one protocol only.
	protocol config.Protocol
	// apply is nil for keys that are not settings of a profile.
	apply func(*settings, string) error
}

// settings are a profile's, with a pod's overrides applied.
type settings struct {
	agent      config.Config
	image      string
	mirrors    []profile.ImageMirror
	pullPolicy string
	// pullSecrets are names of Secrets that the pod must list.
	pullSecrets []string
	resources   profile.Resources
	// resourcesGiven is set when the pod has a say in resources.
	resourcesGiven bool
	user           *int64
	group          *int64
	audience       string
	expiration     int64

	mountPath string
	tokenFile string
	tokenMode fs.FileMode // 0: by rule
	// containers is nil for all of them but those left out: excluded by the
	// pod, and by the profile what has leftOut.
	containers []string
	excluded   []string
	leftOut    map[string]bool
}

// The defaults of settings that no profile has.
const (
	defaultMountPath = "/var/run/gatepass"
	defaultTokenFile = "token"
)

func newSettings(p *profile.Resolved) *settings {
	return &settings{
		agent:       p.Agent,
		image:       p.Image,
		mirrors:     p.ImageMirrors,
		pullPolicy:  p.ImagePullPolicy,
		pullSecrets: p.ImagePullSecrets,
		resources:   p.Resources,
		user:        p.RunAsUser,
		group:       p.RunAsGroup,
		audience:    p.Audience,
		expiration:  p.ExpirationSeconds,
		leftOut:     p.ExcludeContainers,
		mountPath:   defaultMountPath,
		tokenFile:   defaultTokenFile,
	}
}

// Overridable lists the annotations that a profile may let pods set.
func Overridable() []string {
	var names []string
	for _, a := range Annotations() {
		if a.apply != nil {
			names = append(names, a.Name)
		}
	}
	return names
}

// Annotations lists all of our annotations.
func Annotations() []Annotation {
	return slices.Concat(podAnnotations(), loginAnnotations(), agentAnnotations(), []Annotation{
		{Name: keyStatus, Value: statusInjected, Meaning: "set by Gatepass for people to read; never trusted"},
	})
}

// podAnnotations say whether and where the pod gets a session.
func podAnnotations() []Annotation {
	return []Annotation{
		{Name: keyInject, Value: "true or false", Meaning: "opt in; the label of the same key also works"},
		{Name: keyProfile, Value: "name", Meaning: "which of the administrator's profiles; default if not set"},
		{Name: "mode", Value: "init or sidecar", Meaning: "log in once, or also keep the session fresh",
			apply: func(s *settings, v string) (err error) { s.agent.Mode, err = config.ParseMode(v); return err }},
		{Name: keyRevoke, Value: "true or false", Meaning: "end the session when the pod stops (mode sidecar)",
			apply: func(s *settings, v string) (err error) { s.agent.RevokeOnExit, err = config.ParseBool(v); return err }},
		{Name: keyContainers, Value: "comma-separated names", Meaning: "which containers get the session; all if not set",
			apply: func(s *settings, v string) (err error) { s.containers, err = containerNames(v); return err }},
		{Name: keyExclude, Value: "comma-separated names", Meaning: "which containers do not get it; none if not set",
			apply: func(s *settings, v string) (err error) { s.excluded, err = containerNames(v); return err }},
		{Name: "mount-path", Value: "absolute path", Meaning: "where the session's folder appears in them", apply: applyMountPath},
		{Name: "token-file", Value: "file name", Meaning: "the session token's file in that folder", apply: applyTokenFile},
		{Name: "token-mode", Value: "octal mode", Meaning: "that file's mode",
			apply: func(s *settings, v string) (err error) { s.tokenMode, err = config.ParseFileMode(v); return err }},
	}
}

// loginAnnotations say with what the agent logs in.
func loginAnnotations() []Annotation {
	return []Annotation{
		{Name: "audience", Value: "text", Meaning: "audience of the projected token",
			apply: func(s *settings, v string) error { s.audience = v; return checkName(v) }},
		{Name: "token-expiration-seconds", Value: "600 or more", Meaning: "life of the projected token", apply: applyExpiration},
		{Name: "access-id", Value: "text", Meaning: "access id to log in with", protocol: config.ProtocolGateway,
			apply: func(s *settings, v string) error { s.agent.AccessID = v; return checkName(v) }},
		{Name: "auth-config", Value: "name", Meaning: "the gateway's Kubernetes auth config", protocol: config.ProtocolGateway,
			apply: func(s *settings, v string) error { s.agent.AuthConfig = v; return checkName(v) }},
		{Name: "role", Value: "name", Meaning: "role to log in with", protocol: config.ProtocolVault,
			apply: func(s *settings, v string) error { s.agent.Role = v; return checkName(v) }},
		{Name: "auth-path", Value: "path", Meaning: "mount path of the auth method", protocol: config.ProtocolVault, apply: applyAuthPath},
		{Name: "auth-namespace", Value: "name", Meaning: "namespace of the auth method", protocol: config.ProtocolVault,
			apply: func(s *settings, v string) error { s.agent.AuthNamespace = v; return checkName(v) }},
	}
}

// valueQuantity says what stands in the annotations of amounts.
const valueQuantity = "quantity"

// agentAnnotations are about the agent's container.
func agentAnnotations() []Annotation {
	return []Annotation{
		{Name: "agent-image", Value: "image", Meaning: "the agent's image",
			apply: func(s *settings, v string) error { s.image = v; return profile.CheckImage(v) }},
		{Name: "agent-requests-cpu", Value: valueQuantity, Meaning: "the agent's request for CPU",
			apply: func(s *settings, v string) error {
				return applyQuantity(s, &s.resources.Requests.CPU, profile.CheckRequest, profile.ResourceCPU, v)
			}},
		{Name: "agent-requests-memory", Value: valueQuantity, Meaning: "the agent's request for memory",
			apply: func(s *settings, v string) error {
				return applyQuantity(s, &s.resources.Requests.Memory, profile.CheckRequest, profile.ResourceMemory, v)
			}},
		{Name: "agent-requests-ephemeral-storage", Value: valueQuantity, Meaning: "the agent's request for local storage",
			apply: func(s *settings, v string) error {
				return applyQuantity(s, &s.resources.Requests.EphemeralStorage, profile.CheckRequest, profile.ResourceEphemeralStorage, v)
			}},
		{Name: "agent-limits-cpu", Value: valueQuantity, Meaning: "the agent's limit of CPU",
			apply: func(s *settings, v string) error {
				return applyQuantity(s, &s.resources.Limits.CPU, profile.CheckLimit, profile.ResourceCPU, v)
			}},
		{Name: "agent-limits-memory", Value: valueQuantity, Meaning: "the agent's limit of memory",
			apply: func(s *settings, v string) error {
				return applyQuantity(s, &s.resources.Limits.Memory, profile.CheckLimit, profile.ResourceMemory, v)
			}},
		{Name: "agent-limits-ephemeral-storage", Value: valueQuantity, Meaning: "the agent's limit of local storage",
			apply: func(s *settings, v string) error {
				return applyQuantity(s, &s.resources.Limits.EphemeralStorage, profile.CheckLimit, profile.ResourceEphemeralStorage, v)
			}},
		{Name: "agent-run-as-user", Value: "user id", Meaning: "whom the agent runs as",
			apply: func(s *settings, v string) error { return applyID(&s.user, v) }},
		{Name: "agent-run-as-group", Value: "group id", Meaning: "the agent's group",
			apply: func(s *settings, v string) error { return applyID(&s.group, v) }},
		{Name: "log-level", Value: "debug, info, warn or error", Meaning: "how much the agent says",
			apply: func(s *settings, v string) (err error) { s.agent.LogLevel, err = config.ParseLogLevel(v); return err }},
		{Name: "timeout", Value: "duration", Meaning: "how long the agent tries before the pod's start fails",
			apply: func(s *settings, v string) (err error) { s.agent.Timeout, err = config.ParseTimeout(v); return err }},
	}
}

func checkName(v string) error {
	if v == "" {
		return errors.New("is empty; give a value or remove the annotation")
	}
	return profile.CheckText(v)
}

func containerNames(v string) ([]string, error) {
	names := []string{}
	seen := map[string]bool{}
	for name := range strings.SplitSeq(v, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			return nil, fmt.Errorf("%q has an empty entry; give container names separated by single commas, or remove the annotation for all containers", v)
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}

// maxMountPath bounds what is written into every container.
const maxMountPath = 512

func applyMountPath(s *settings, v string) error {
	switch {
	case len(v) > maxMountPath:
		return fmt.Errorf("%q is longer than %d bytes", v, maxMountPath)
	case !path.IsAbs(v):
		return fmt.Errorf("%q is not an absolute path; use for example %s", v, defaultMountPath)
	case strings.IndexFunc(v, unicode.IsControl) >= 0:
		return fmt.Errorf("%q holds control characters", v)
	case strings.Contains(v, ":"):
		return fmt.Errorf("%q holds a colon, which Kubernetes refuses in mount paths", v)
	case slices.Contains(strings.Split(v, "/"), ".."):
		return fmt.Errorf("%q climbs with ..; write the path without it", v)
	}
	clean := path.Clean(v)
	if clean == "/" {
		return errors.New("the root folder can't be a mount path; use for example " + defaultMountPath)
	}
	s.mountPath = clean
	return checkMountPath(clean)
}

// maxFileName is NAME_MAX of Linux (limits.h).
const maxFileName = 255

func applyTokenFile(s *settings, v string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
	}
	switch {
	case v == "" || len(v) > maxFileName || strings.ContainsFunc(v, func(r rune) bool { return !plain(r) }):
		return fmt.Errorf("%q is not a file name of letters, digits, '.', '_' and '-'; use gatepass.dev/mount-path for the folder", v)
	case strings.HasPrefix(v, "."):
		return fmt.Errorf("%q begins with a dot; such names are kept for files that are being written", v)
	case v == "session.json":
		return fmt.Errorf("%q is the file that describes the session; choose another name", v)
	case v == "ca.crt":
		return fmt.Errorf("%q is the file with the gateway's authority; choose another name", v)
	}
	s.tokenFile = v
	return nil
}

func applyAuthPath(s *settings, v string) error {
	v = strings.Trim(v, "/")
	s.agent.AuthPath = v
	if slices.Contains(strings.Split(v, "/"), "..") {
		return fmt.Errorf("%q climbs with ..; write the path without it", v)
	}
	if strings.ContainsAny(v, "?#%\\") {
		return fmt.Errorf("%q holds characters that a mount path can't; use for example auth/kubernetes", v)
	}
	return checkName(v)
}

func applyExpiration(s *settings, v string) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number of seconds; use for example 3600", v)
	}
	s.expiration = n
	return profile.CheckExpiration(n)
}

func applyQuantity(s *settings, target *string, check func(resource, v string) error, resource, v string) error {
	if v == "" {
		return errors.New("is empty; use for example " + profile.ExampleQuantity(resource) + ", or remove the annotation")
	}
	*target = v
	if resource != profile.ResourceEphemeralStorage { // it has no say in the quality of service
		s.resourcesGiven = true
	}
	return check(resource, v)
}

func applyID(target **int64, v string) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a numeric id; use for example 1000", v)
	}
	*target = &n
	return profile.CheckID(n)
}
