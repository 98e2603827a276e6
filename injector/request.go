package injector

import (
	"slices"
	"strings"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/injector/profile"
)

// ours returns the names, without Prefix, of our keys in m, sorted, so that
// messages do not depend on the order of a map.
func ours(m map[string]string) []string {
	var names []string
	for key := range m {
		if name, ok := strings.CutPrefix(key, Prefix); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// wanted reports whether the pod asks for a session. What it asks for in a
// way that can't be right becomes a problem of d.
func (i *Injector) wanted(pod *podView, names []string, d *Decision) bool {
	for _, name := range names {
		if _, ok := i.annotations[name]; !ok {
			i.denyUnknown(d, "annotation", name)
		}
	}
	for _, name := range ours(pod.Metadata.Labels) {
		if name != keyInject {
			i.denyUnknownLabel(d, name)
		}
	}
	annotation, annotated := optIn(pod.Metadata.Annotations, "annotation", d)
	label, labelled := optIn(pod.Metadata.Labels, "label", d)
	switch {
	case annotated && labelled && annotation != label && len(d.Problems) == 0:
		d.deny(ReasonContradiction, "annotation %[1]s=%[2]q contradicts label %[1]s=%[3]q; make them the same or remove one",
			Prefix+keyInject, pod.Metadata.Annotations[Prefix+keyInject], pod.Metadata.Labels[Prefix+keyInject])
	case !annotated && !labelled && len(d.Problems) == 0:
		for _, name := range names {
			if name != keyStatus {
				d.deny(ReasonNotOptedIn, "annotation %s%s is set, but the pod does not ask for a session; add the annotation %sinject: \"true\", or remove %s%s",
					Prefix, name, Prefix, Prefix, name)
				break
			}
		}
	}
	return annotation || label
}

func optIn(m map[string]string, kind string, d *Decision) (value, present bool) {
	v, present := m[Prefix+keyInject]
	switch {
	case !present, v == "false":
		return false, present
	case v == "true":
		return true, true
	}
	d.deny(ReasonInvalidValue, "%s %sinject: %q is neither true nor false; write \"true\" to get a session", kind, Prefix, v)
	return false, true
}

func (i *Injector) denyUnknown(d *Decision, kind, name string) {
	if d.full() {
		d.more++
		return
	}
	if hint := hint(name, i.names); hint != "" {
		d.deny(ReasonUnknownKey, "%s %s%s is not known; %s", kind, Prefix, name, hint)
		return
	}
	d.deny(ReasonUnknownKey, "%s %s%s is not known; known are %s", kind, Prefix, name, strings.Join(i.names, ", "))
}

func (i *Injector) denyUnknownLabel(d *Decision, name string) {
	if _, ok := i.annotations[name]; ok {
		d.deny(ReasonUnknownKey, "label %[1]s%[2]s has no effect; only %[1]sinject works as a label, make %[1]s%[2]s an annotation", Prefix, name)
		return
	}
	i.denyUnknown(d, "label", name)
}

// settle applies the pod's overrides to its profile. It returns nil when the
// pod must be denied.
func (i *Injector) settle(pod *podView, names []string, d *Decision) *settings {
	p := i.profileOf(pod, d)
	if p == nil {
		return nil
	}
	s := newSettings(p)
	for _, name := range names {
		a := i.annotations[name]
		if a.apply == nil {
			continue
		}
		value := pod.Metadata.Annotations[Prefix+name]
		if a.protocol != "" && a.protocol != p.Agent.Protocol {
			d.deny(ReasonWrongProtocol, "annotation %s%s is for protocol %s, but profile %q speaks %s; remove it or choose another profile",
				Prefix, name, a.protocol, p.Name, p.Agent.Protocol)
			continue
		}
		if !p.MayOverride(name) {
			d.deny(ReasonOverrideNotAllowed, "annotation %s%s: profile %q does not let pods set it (it allows: %s); remove it, or ask the administrator to list it in the profile's overrides",
				Prefix, name, p.Name, listOr(p.Overrides(), "nothing"))
			continue
		}
		if err := a.apply(s, value); err != nil {
			d.deny(ReasonInvalidValue, "annotation %s%s: %v", Prefix, name, err)
		}
	}
	if s.containers != nil && s.excluded != nil {
		d.deny(ReasonContradiction, "annotations %[1]s%[2]s and %[1]s%[3]s are both set; list the containers that get the session in the first, or those that do not in the second, and remove the other",
			Prefix, keyContainers, keyExclude)
	}
	if err := s.resources.Check(); err != nil {
		d.deny(ReasonContradiction, "the agent's resources: %v; change the annotations %[2]sagent-requests-… and %[2]sagent-limits-…", err, Prefix)
	}
	if s.agent.RevokeOnExit && s.agent.Mode != config.ModeSidecar {
		d.deny(ReasonContradiction, "annotation %[1]s%[2]s needs mode sidecar, but the mode is %[3]s, in which no agent is left to revoke anything; set %[1]smode: sidecar, or remove %[1]s%[2]s",
			Prefix, keyRevoke, s.agent.Mode)
	}
	d.Profile, d.Mode = p.Name, string(s.agent.Mode)
	return s
}

func (i *Injector) profileOf(pod *podView, d *Decision) *profile.Resolved {
	name, named := pod.Metadata.Annotations[Prefix+keyProfile]
	if !named {
		name = profile.DefaultName
	}
	p := i.profiles.Get(name)
	if p != nil {
		return p
	}
	known := i.profiles.Names()
	if !named {
		d.deny(ReasonUnknownProfile, "no profile is named %q; choose one with the annotation %sprofile (there are: %s)", name, Prefix, listOr(known, "none"))
		return nil
	}
	hint := ""
	if guess := nearest(name, known); guess != "" {
		hint = "did you mean " + guess + "? "
	}
	d.deny(ReasonUnknownProfile, "annotation %sprofile: no profile is named %q; %sthere are: %s", Prefix, name, hint, listOr(known, "none"))
	return nil
}

func listOr(names []string, empty string) string {
	if len(names) == 0 {
		return empty
	}
	return strings.Join(names, ", ")
}
