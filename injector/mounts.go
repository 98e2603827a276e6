package injector

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// readers returns the containers that get the session. A listed name that no
// container has is a problem of d, and so is a pod in which none is left.
func readers(pod *podView, s *settings, d *Decision) []container {
	all := pod.applications()
	listed := named(all, keyContainers, s.containers, d)
	excluded := named(all, keyExclude, s.excluded, d)
	get := slices.DeleteFunc(slices.Clone(all), func(c container) bool {
		if s.containers != nil {
			return !listed[c.Name]
		}
		return excluded[c.Name] || s.leavesOut(c.Name)
	})
	if len(get) == 0 && !d.refused() {
		d.deny(ReasonContradiction, "the pod asks for a session, but none of its containers gets it (%s): the annotation %[2]s%[3]s, the profile's excludeContainers or Gatepass' own list of service meshes leaves them out; name those that need it in %[2]s%[4]s, or remove %[2]s%[5]s",
			clipList(namesOf(all)), Prefix, keyExclude, keyContainers, keyInject)
	}
	return get
}

// named looks for the containers that an annotation lists.
func named(all []container, key string, list []string, d *Decision) map[string]bool {
	if list == nil {
		return nil
	}
	missing := make(map[string]bool, len(list))
	for _, name := range list {
		missing[name] = true
	}
	found := maps.Clone(missing)
	for _, c := range all {
		delete(missing, c.Name)
	}
	names := namesOf(all)
	have := clipList(names)
	for _, name := range list {
		if !missing[name] || d.full() {
			continue
		}
		hint := ""
		if guess := nearest(name, names); guess != "" {
			hint = "did you mean " + guess + "? "
		}
		fix := "one that another webhook adds later can't be listed: leave the annotation out"
		if key == keyExclude {
			fix = "one that another webhook adds later is left out by the profile's excludeContainers"
		}
		d.deny(ReasonUnknownContainer, "annotation %s%s: the pod has no container %q; %sit has: %s (%s)", Prefix, key, name, hint, have, fix)
	}
	return found
}

func namesOf(all []container) []string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Name
	}
	return names
}

// clipList names the first entries of a list.
func clipList(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// checkMounts refuses what would collide with the session in a container.
func checkMounts(pod *podView, c *container, s *settings, d *Decision) {
	for _, m := range c.VolumeMounts {
		if m.Name == SessionVolume {
			continue // checkOurVolumes looks at it
		}
		at := path.Clean(m.MountPath)
		switch {
		case samePath(at, s.mountPath):
			d.deny(ReasonMountConflict, "container %q mounts volume %q at %s, where the session should appear; choose another path with the annotation %smount-path", c.Name, m.Name, at, Prefix)
		case below(at, s.mountPath):
			d.deny(ReasonMountConflict, "container %q mounts volume %q at %s, inside the session's read-only folder %s; choose another path with the annotation %smount-path", c.Name, m.Name, at, s.mountPath, Prefix)
		case below(s.mountPath, at) && (m.ReadOnly || pod.volume(m.Name).readOnly()):
			d.deny(ReasonMountConflict, "container %q mounts volume %q read-only at %s, so that the session can't appear at %s; choose another path with the annotation %smount-path", c.Name, m.Name, at, s.mountPath, Prefix)
		}
	}
	for _, device := range c.VolumeDevices {
		if at := path.Clean(device.DevicePath); samePath(at, s.mountPath) {
			d.deny(ReasonMountConflict, "container %q has a device at %s, where the session should appear; choose another path with the annotation %smount-path", c.Name, at, Prefix)
		}
	}
	for _, e := range c.Env {
		if e.Name == TokenFileEnv && e.Value != literal(s.tokenPath()) {
			d.deny(ReasonEnvConflict, "container %q sets %s itself; remove that variable, or make it %q", c.Name, TokenFileEnv, literal(s.tokenPath()))
			return
		}
	}
}

// checkOurVolumes refuses a pod in which anything but the agent mounts the
// projected token, or the session is mounted other than Gatepass does it. A
// container that is left out without the pod's saying so may have the mount: a
// webhook of an earlier version, or with other profiles, gave it.
func checkOurVolumes(pod *podView, get []container, s *settings, d *Decision) {
	listed := make(map[string]bool, len(get))
	for _, c := range get {
		listed[c.Name] = true
	}
	for _, c := range pod.applications() {
		for _, m := range c.VolumeMounts {
			switch {
			case m.Name == IdentityVolume:
				d.deny(ReasonMountConflict, "container %q mounts %s, which is for the agent alone; remove the mount", c.Name, IdentityVolume)
			case m.Name != SessionVolume:
			case !listed[c.Name] && s.containers != nil:
				d.deny(ReasonMountConflict, "container %q mounts %s, but the annotation %s%s leaves it out; remove the mount, or list the container", c.Name, SessionVolume, Prefix, keyContainers)
			case slices.Contains(s.excluded, c.Name):
				d.deny(ReasonMountConflict, "container %q mounts %s, but the annotation %s%s leaves it out; remove the mount, or the container from the list", c.Name, SessionVolume, Prefix, keyExclude)
			case path.Clean(m.MountPath) != s.mountPath || m.SubPath != "" || m.SubPathExpr != "":
				d.deny(ReasonMountConflict, "container %q mounts %s at %s; remove the mount, and choose the path with the annotation %smount-path", c.Name, SessionVolume, m.MountPath, Prefix)
			case !m.ReadOnly:
				d.deny(ReasonMountConflict, "container %q mounts %s writable; remove the mount and Gatepass adds a read-only one", c.Name, SessionVolume)
			}
		}
	}
}
