package injector

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// readers returns the containers that get the session. A listed name that no
// container has is a problem of d.
func readers(pod *podView, s *settings, d *Decision) []container {
	all := pod.applications()
	if s.containers == nil {
		return all
	}
	names := make([]string, len(all))
	missing := make(map[string]bool, len(s.containers))
	for _, name := range s.containers {
		missing[name] = true
	}
	listed := maps.Clone(missing)
	for i, c := range all {
		names[i] = c.Name
		delete(missing, c.Name)
	}
	for _, name := range s.containers {
		if !missing[name] || d.full() {
			continue
		}
		hint := ""
		if guess := nearest(name, names); guess != "" {
			hint = "did you mean " + guess + "? "
		}
		d.deny(ReasonUnknownContainer, "annotation %scontainers: the pod has no container %q; %sit has: %s", Prefix, name, hint, strings.Join(names, ", "))
	}
	return slices.DeleteFunc(all, func(c container) bool { return !listed[c.Name] })
}

// present reports whether the pod has its agent already, judged by what is
// there and not by what an annotation says. What has our names but not our
// shape is a problem of d: a pod must not carry an agent that is none.
func present(pod *podView, s *settings, d *Decision) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == AgentContainer {
			d.deny(ReasonNameConflict, "spec.containers[%d] is named %q, which is the name of Gatepass' agent; rename it", i, AgentContainer)
		}
	}
	session, token := pod.volume(SessionVolume), pod.volume(IdentityVolume)
	agent := pod.agent()
	if agent == nil {
		for _, v := range []*volumeView{session, token} {
			if v != nil {
				d.deny(ReasonNameConflict, "spec.volumes has a volume named %q, which Gatepass adds itself; rename it", v.Name)
			}
		}
		return false
	}
	if missing := whatIsMissing(agent, session, token); missing != "" {
		d.deny(ReasonForeignAgent, "spec.initContainers has a container named %q that Gatepass did not add: %s; remove it and Gatepass adds the right one", AgentContainer, missing)
		return true
	}
	compareAgent(agent, s, d)
	return true
}

func whatIsMissing(agent *containerView, session, token *volumeView) string {
	switch {
	case session == nil || session.EmptyDir == nil || session.EmptyDir.Medium != "Memory":
		return "there is no memory-backed volume " + SessionVolume
	case token == nil || token.Projected == nil || len(token.Projected.Sources) != 1 || token.Projected.Sources[0].ServiceAccountToken == nil:
		return "there is no projected volume " + IdentityVolume + " with a service-account token"
	}
	if m := agent.mount(SessionVolume); m == nil || m.MountPath != sessionDir {
		return "it does not mount " + SessionVolume + " at " + sessionDir
	}
	if m := agent.mount(IdentityVolume); m == nil || m.MountPath != identityDir {
		return "it does not mount " + IdentityVolume + " at " + identityDir
	}
	return ""
}

// compareAgent holds the environment of an agent that is there already
// against the profile. Where the token goes, and whom the agent trusts, must
// be the administrator's word; the rest may be of an earlier profile, as in a
// pod restored from a backup.
func compareAgent(agent *containerView, s *settings, d *Decision) {
	want := map[string]string{}
	for _, v := range s.agentEnv(identity{mode: 0o400}) {
		want[v.Name] = literal(v.Value)
	}
	for _, name := range []string{"GATEPASS_PROTOCOL", "GATEPASS_GATEWAY_URL", "GATEPASS_CA_BUNDLE", "GATEPASS_IDENTITY_FILE"} {
		have := ""
		if e := agent.env(name); e != nil {
			have = e.Value
		}
		if have != want[name] {
			d.deny(ReasonForeignAgent, "the pod has a container %q already, whose %s is not that of the profile; remove the container and the volumes %s and %s, and Gatepass adds the right ones",
				AgentContainer, name, SessionVolume, IdentityVolume)
		}
		delete(want, name)
	}
	delete(want, "GATEPASS_TOKEN_MODE")
	var differing []string
	for name, value := range want {
		if e := agent.env(name); e == nil || e.Value != value {
			differing = append(differing, name)
		}
	}
	if len(differing) > 0 {
		slices.Sort(differing)
		d.warn("the pod has its agent already, configured otherwise than its profile and annotations say (%s); it is left as it is", strings.Join(differing, ", "))
	}
}

// checkMounts refuses what would collide with the session in a container.
func checkMounts(c *container, s *settings, d *Decision) {
	for _, m := range c.VolumeMounts {
		at := path.Clean(m.MountPath)
		switch {
		case m.Name == SessionVolume && at == s.mountPath:
			if !m.ReadOnly {
				d.deny(ReasonMountConflict, "container %q mounts %s writable; remove the mount and Gatepass adds a read-only one", c.Name, SessionVolume)
			}
		case m.Name == SessionVolume:
			d.deny(ReasonMountConflict, "container %q mounts %s at %s; remove the mount, and choose the path with the annotation %smount-path", c.Name, SessionVolume, at, Prefix)
		case at == s.mountPath:
			d.deny(ReasonMountConflict, "container %q mounts volume %q at %s, where the session should appear; choose another path with the annotation %smount-path", c.Name, m.Name, at, Prefix)
		case strings.HasPrefix(at, s.mountPath+"/"):
			d.deny(ReasonMountConflict, "container %q mounts volume %q at %s, inside the session's read-only folder %s; choose another path with the annotation %smount-path", c.Name, m.Name, at, s.mountPath, Prefix)
		case m.ReadOnly && strings.HasPrefix(s.mountPath, at+"/"):
			d.deny(ReasonMountConflict, "container %q mounts volume %q read-only at %s, so that the session can't appear at %s; choose another path with the annotation %smount-path", c.Name, m.Name, at, s.mountPath, Prefix)
		}
	}
	if e := c.env(TokenFileEnv); e != nil && e.Value != literal(s.tokenPath()) {
		d.deny(ReasonEnvConflict, "container %q sets %s itself; remove that variable, or make it %q", c.Name, TokenFileEnv, literal(s.tokenPath()))
	}
}

// checkIdentityMounts refuses a pod in which anything but the agent mounts
// the projected token.
func checkIdentityMounts(pod *podView, d *Decision) {
	for _, c := range pod.applications() {
		if c.mount(IdentityVolume) != nil {
			d.deny(ReasonMountConflict, "container %q mounts %s, which is for the agent alone; remove the mount", c.Name, IdentityVolume)
		}
	}
}
