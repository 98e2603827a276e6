package injector

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// found is what a pod that has an agent already has of ours, as JSON.
type found struct{ agent, session, identity map[string]any }

// maxOurs bounds each part of it. A CA bundle has 64 KiB at most, and other
// webhooks add a few kilobytes; decoded, JSON may take twenty times its size.
const maxOurs = 256 << 10

// ownEntries are the entries of a list that have our names, and nothing else
// of it: a list may be as long as the pod.
type ownEntries map[string]map[string]any

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (e *ownEntries) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '[' {
		return dec.SkipValue() // null: decodePod has seen to the rest
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*e = ownEntries{}
	for dec.PeekKind() != ']' {
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := e.keep(raw); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// keep decodes an entry if it has one of our names. The first of a name stays,
// as for podView.
func (e *ownEntries) keep(raw jsontext.Value) error {
	if !mayHold(raw, "gatepass-") {
		return nil
	}
	var entry struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(raw, &entry); err != nil {
		return err
	}
	if !slices.Contains([]string{AgentContainer, SessionVolume, IdentityVolume}, entry.Name) || (*e)[entry.Name] != nil {
		return nil
	}
	if len(raw) > maxOurs {
		return errors.New("too large")
	}
	var value map[string]any
	if err := json.Unmarshal(raw, &value); err != nil {
		return err
	}
	(*e)[entry.Name] = value
	return nil
}

// findOurs reads what has our names.
func findOurs(pod *podView) (*found, error) {
	var full struct {
		Spec struct {
			Volumes        ownEntries `json:"volumes"`
			InitContainers ownEntries `json:"initContainers"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(pod.raw, &full); err != nil {
		// The library's text may quote a value.
		return nil, fmt.Errorf("its %s or the volumes of that are larger than %d bytes, or no objects", AgentContainer, maxOurs)
	}
	return &found{
		agent:    full.Spec.InitContainers[AgentContainer],
		session:  full.Spec.Volumes[SessionVolume],
		identity: full.Spec.Volumes[IdentityVolume],
	}, nil
}

// present reports whether the pod has its agent already, judged by what is
// there and not by what an annotation says. What has our names but not our
// shape is a problem of d: a pod must not carry an agent that is none. A pod
// has one legitimately when another webhook makes the API server ask again,
// and when it is a copy of an injected pod.
func present(pod *podView, get []container, s *settings, d *Decision) bool {
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
	have, err := findOurs(pod)
	if err != nil {
		d.deny(ReasonMalformedPod, "the pod can't be read: %v", err)
		return true
	}
	allowed := &allowances{pod: pod, settings: s}
	if foreign := checkVolumes(pod, s); foreign != "" {
		d.deny(ReasonForeignAgent, foreignAgent, AgentContainer, foreign, remedy(""))
	} else if foreign, err := have.compare(pod, get, s, allowed); err != nil {
		d.deny(ReasonMalformedPod, "the pod can't be read: %v", err)
	} else if foreign != "" {
		d.deny(ReasonForeignAgent, foreignAgent, AgentContainer, foreign, remedy(foreign))
	}
	if len(allowed.harmless) > 0 {
		d.warn("the pod has its agent already, configured otherwise than its profile and annotations say (%s); it is left as it is", strings.Join(allowed.harmless, ", "))
	}
	if allowed.narrower {
		d.warn("the pod has its agent already, which trusts fewer CAs for the gateway than its profile; it is left as it is")
	}
	return true
}

// foreignAgent says what differs, and then what to do about it.
const foreignAgent = "the pod has an init container %q already that is not what its profile asks for: %s; %s"

// remedy names the ways in which a pod gets such an agent. The pod's author has
// never seen the container if another webhook changed it.
func remedy(foreign string) string {
	text := "if another webhook changed the agent after Gatepass added it, exempt the init container " + AgentContainer + " there"
	if strings.Contains(foreign, "its image is") {
		text += ", or list the mirror under imageMirrors in Gatepass' configuration"
	}
	return text + "; if the pod is a copy of an injected one, or the container was written by hand, remove it and the volumes " +
		SessionVolume + " and " + IdentityVolume + ", and Gatepass adds the right ones; if a profile was changed just now, try again in two minutes"
}

// compare holds what is there against what Gatepass would add to the pod now,
// and returns what may not differ.
func (f *found) compare(pod *podView, get []container, s *settings, a *allowances) (string, error) {
	id := chooseIdentity(pod, get, s)
	c := new(comparison)
	envFrom, _ := f.agent["envFrom"].([]any)
	agent := a.rules()
	agent["env"] = a.env(len(envFrom) == 0)
	for _, part := range []struct {
		at    string
		have  map[string]any
		write func(*patch)
		rules map[string]rule
	}{
		{"", f.agent, func(p *patch) { p.agentContainer(s, id) }, agent},
		{"volume " + SessionVolume, f.session, (*patch).sessionVolume, nil},
		{"volume " + IdentityVolume, f.identity, func(p *patch) { p.identityVolume(s) }, map[string]rule{
			"projected": func(c *comparison, at string, have, want any) {
				h, _ := have.(map[string]any)
				w, _ := want.(map[string]any)
				// The API server's default, which the kubelet narrows.
				c.object(at, h, w, map[string]rule{"defaultMode": oneOf(float64(0o644))})
			},
		}},
	} {
		p, want := new(patch), map[string]any{}
		part.write(p)
		if err := json.Unmarshal(p.buf, &want); err != nil {
			return "", fmt.Errorf("what Gatepass would add is no JSON: %w", err)
		}
		c.object(part.at, part.have, want, part.rules)
	}
	return c.String(), nil
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
