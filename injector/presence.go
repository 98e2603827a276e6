package injector

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/agent/config"
)

// agentView is an agent's container that is there already.
type agentView struct {
	Name          string   `json:"name"`
	Image         string   `json:"image"`
	Command       []string `json:"command"`
	Args          []string `json:"args"`
	RestartPolicy string   `json:"restartPolicy"`
	Env           []struct {
		Name      string    `json:"name"`
		Value     string    `json:"value"`
		ValueFrom *struct{} `json:"valueFrom"`
	} `json:"env"`
	EnvFrom   []struct{} `json:"envFrom"`
	Lifecycle *struct {
		PostStart *struct {
			Exec *struct {
				Command []string `json:"command"`
			} `json:"exec"`
		} `json:"postStart"`
		PreStop *struct{} `json:"preStop"`
	} `json:"lifecycle"`
	SecurityContext *struct {
		Privileged               *bool `json:"privileged"`
		AllowPrivilegeEscalation *bool `json:"allowPrivilegeEscalation"`
	} `json:"securityContext"`
	VolumeMounts []mountView `json:"volumeMounts"`
}

// decodeAgent reads the agent of a pod that has one.
func decodeAgent(pod *podView) (*agentView, error) {
	var full struct {
		Spec struct {
			InitContainers []agentView `json:"initContainers"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(pod.raw, &full); err != nil {
		return nil, fmt.Errorf("its %s can't be read", AgentContainer) // the library's text may quote a value
	}
	for i := range full.Spec.InitContainers {
		if full.Spec.InitContainers[i].Name == AgentContainer {
			return &full.Spec.InitContainers[i], nil
		}
	}
	return nil, fmt.Errorf("it has no %s", AgentContainer)
}

// present reports whether the pod has its agent already, judged by what is
// there and not by what an annotation says. What has our names but not our
// shape is a problem of d: a pod must not carry an agent that is none. A pod
// has one legitimately when another webhook makes the API server ask again,
// and when it is a copy of an injected pod.
func present(pod *podView, s *settings, d *Decision) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == AgentContainer {
			d.deny(ReasonNameConflict, "spec.containers[%d] is named %q, which is the name of Gatepass' agent; rename it", i, AgentContainer)
		}
	}
	if pod.agent() == nil {
		for _, name := range []string{SessionVolume, IdentityVolume} {
			if pod.volume(name) != nil {
				d.deny(ReasonNameConflict, "spec.volumes has a volume named %q, but there is no agent; remove the volume and its mounts (Gatepass adds them itself), or rename it if it is yours", name)
			}
		}
		return false
	}
	agent, err := decodeAgent(pod)
	if err != nil {
		d.deny(ReasonMalformedPod, "the pod can't be read: %v", err)
		return true
	}
	foreign := func() string {
		for _, check := range []func() string{
			func() string { return checkVolumes(pod, s) },
			func() string { return agent.checkShape(s) },
			func() string { return agent.checkEnv(s, d) },
		} {
			if cause := check(); cause != "" {
				return cause
			}
		}
		return ""
	}()
	if foreign != "" {
		d.deny(ReasonForeignAgent, "the pod has an init container %q already that is not what its profile asks for: %s; remove that container and the volumes %s and %s, and Gatepass adds the right ones",
			AgentContainer, foreign, SessionVolume, IdentityVolume)
	}
	return true
}

func checkVolumes(pod *podView, s *settings) string {
	session, token := pod.volume(SessionVolume), pod.volume(IdentityVolume)
	switch {
	case session == nil || session.EmptyDir == nil || session.EmptyDir.Medium != "Memory":
		return "there is no memory-backed volume " + SessionVolume
	case token == nil || token.Projected == nil || len(token.Projected.Sources) != 1 || token.Projected.Sources[0].ServiceAccountToken == nil:
		return "there is no projected volume " + IdentityVolume + " with a service-account token"
	}
	if a := token.Projected.Sources[0].ServiceAccountToken.Audience; a != s.audience {
		return fmt.Sprintf("its token is for audience %q and not for %q", a, s.audience)
	}
	return ""
}

// checkShape looks at what the container runs, and how.
func (a *agentView) checkShape(s *settings) string {
	restart := ""
	if s.agent.Mode == config.ModeSidecar {
		restart = "Always"
	}
	switch {
	case len(a.Command) > 0 || len(a.Args) > 0:
		return "it has a command or arguments of its own"
	case len(a.EnvFrom) > 0:
		return "it takes its environment from elsewhere (envFrom)"
	case a.RestartPolicy != restart:
		return fmt.Sprintf("its restartPolicy is %q and not %q", a.RestartPolicy, restart)
	case !a.rightHooks(s):
		return "its lifecycle hooks are others"
	case a.mayGainPrivileges():
		return "it may gain privileges"
	case !sameImage(a.Image, s.image):
		return fmt.Sprintf("its image is %s and not %s", a.Image, s.image)
	}
	for _, want := range []struct{ volume, path string }{{SessionVolume, sessionDir}, {IdentityVolume, identityDir}} {
		if !slices.ContainsFunc(a.VolumeMounts, func(m mountView) bool {
			return m.Name == want.volume && m.MountPath == want.path && m.SubPath == "" && m.SubPathExpr == ""
		}) {
			return fmt.Sprintf("it does not mount %s at %s", want.volume, want.path)
		}
	}
	return ""
}

func (a *agentView) mayGainPrivileges() bool {
	sc := a.SecurityContext
	return sc == nil || sc.Privileged != nil && *sc.Privileged || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation
}

func (a *agentView) rightHooks(s *settings) bool {
	l := a.Lifecycle
	if s.agent.Mode != config.ModeSidecar {
		return l == nil
	}
	return l != nil && l.PreStop == nil && l.PostStart != nil && l.PostStart.Exec != nil &&
		slices.Equal(l.PostStart.Exec.Command, []string{config.AgentPath, config.WaitCommand})
}

// checkEnv holds the environment against the profile's. Where the token goes,
// and whom the agent trusts, must be the administrator's word; the rest may be
// of an earlier profile, and is a warning.
func (a *agentView) checkEnv(s *settings, d *Decision) string {
	have := map[string]string{}
	for _, e := range a.Env {
		if !strings.HasPrefix(e.Name, "GATEPASS_") {
			continue
		}
		if _, twice := have[e.Name]; twice || e.ValueFrom != nil {
			return "it sets " + e.Name + " twice, or from elsewhere"
		}
		have[e.Name] = e.Value
	}
	var differing []string
	for _, v := range s.agentEnv(identity{}) {
		want := literal(v.Value)
		got, set := have[v.Name]
		delete(have, v.Name)
		switch {
		case v.Name == "GATEPASS_TOKEN_MODE" || got == want && set:
		case v.Name == "GATEPASS_CA_BUNDLE" && overlap(got, want):
			d.warn("the pod has its agent already, which trusts an earlier set of authorities for the gateway than its profile; it is left as it is")
		case slices.Contains([]string{"GATEPASS_PROTOCOL", "GATEPASS_GATEWAY_URL", "GATEPASS_CA_BUNDLE", "GATEPASS_IDENTITY_FILE", "GATEPASS_TOKEN_FILE"}, v.Name):
			return fmt.Sprintf("its %s is %q", v.Name, got)
		default:
			differing = append(differing, v.Name)
		}
	}
	if v, extra := have["GATEPASS_CA_BUNDLE"]; extra {
		return fmt.Sprintf("its GATEPASS_CA_BUNDLE is %q", v)
	}
	if len(differing) > 0 {
		d.warn("the pod has its agent already, configured otherwise than its profile and annotations say (%s); it is left as it is", strings.Join(differing, ", "))
	}
	return ""
}

// overlap reports whether two bundles have a certificate in common. That is so
// on both sides of a rotation, which may come between two questions about one
// pod.
func overlap(a, b string) bool {
	const end = "-----END CERTIFICATE-----"
	known := strings.SplitAfter(b, end)
	return slices.ContainsFunc(strings.SplitAfter(a, end), func(block string) bool {
		return strings.HasSuffix(block, end) && slices.ContainsFunc(known, func(k string) bool {
			return strings.TrimSpace(k) == strings.TrimSpace(block)
		})
	})
}

// sameImage reports whether an image is the one that was asked for. Webhooks
// rewrite images to a mirror, and tags to digests; the name and what both
// have must be the same.
func sameImage(have, want string) bool {
	type image struct{ name, tag, digest string }
	parse := func(ref string) (i image) {
		ref, i.digest, _ = strings.Cut(ref, "@")
		i.name, i.tag, _ = strings.Cut(ref[strings.LastIndexByte(ref, '/')+1:], ":")
		return i
	}
	agree := func(a, b string) bool { return a == "" || b == "" || a == b }
	h, w := parse(have), parse(want)
	return h.name == w.name && agree(h.tag, w.tag) && agree(h.digest, w.digest) &&
		(h.tag == w.tag || h.digest != "")
}
