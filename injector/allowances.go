package injector

import (
	"path"
	"slices"

	"github.com/gatepass/gatepass/agent/config"
)

// allowances are what may differ in an agent that is there already. Webhooks
// set resources and probes, pin and mirror images, add variables and mounts,
// and the API server fills in defaults. Nothing of that may decide where the
// token goes, what runs, or with which rights.
type allowances struct {
	pod      *podView
	settings *settings
	// harmless lists settings that differ and may.
	harmless []string
	// narrower is set when the agent trusts fewer CAs than its profile names.
	narrower bool
}

// rules are those of the container's fields.
func (a *allowances) rules() map[string]rule {
	return map[string]rule{
		"image":           a.image,
		"imagePullPolicy": free,
		"command":         ownProgram,
		"args":            ownProgram,
		"restartPolicy": func(c *comparison, at string, have, want any) {
			mustEqual(c, at, orEmpty(have), orEmpty(want))
		},
		"lifecycle": lifecycle,
		// SealedEnv says why it can't set what matters.
		"envFrom":        free,
		"volumeMounts":   a.mounts,
		"ports":          ports,
		"resources":      parts(map[string]rule{fieldRequests: free, fieldLimits: free}),
		"resizePolicy":   free,
		"livenessProbe":  probe,
		"readinessProbe": probe,
		"startupProbe":   probe,
		"stdin":          oneOf(false),
		"stdinOnce":      oneOf(false),
		"tty":            oneOf(false),
		// The API server's default. With another, the kubelet would mount a
		// file over that path.
		"terminationMessagePath": oneOf(config.DefaultTerminationMessageFile),
		"securityContext":        a.securityContext,
	}
}

func orEmpty(v any) any {
	if v == nil {
		return ""
	}
	return v
}

// parts is the rule of an object whose fields have rules. Without the object,
// all of them are left out.
func parts(rules map[string]rule) rule {
	return func(c *comparison, at string, have, want any) {
		h, ok := have.(map[string]any)
		if have != nil && !ok {
			c.unequal(at, have, want)
			return
		}
		w, _ := want.(map[string]any)
		c.object(at, h, w, rules)
	}
}

func (a *allowances) image(c *comparison, at string, have, want any) {
	h, _ := have.(string)
	w, _ := want.(string)
	if !sameImage(h, w, a.settings.mirrors) {
		c.differ("its %s is %s and not %s", at, clipName(h), w)
	}
}

func ownProgram(c *comparison, at string, have, want any) {
	if !none(have) || !none(want) {
		c.differ("it has a command or arguments of its own (%s)", at)
	}
}

func lifecycle(c *comparison, at string, have, want any) {
	d := new(comparison)
	if mustEqual(d, at, have, want); d.String() != "" {
		c.differ("its lifecycle hooks are others (%s)", at)
	}
}

// probe allows probes but those that run a command: the image has one program,
// and with other arguments it would send the token elsewhere.
func probe(c *comparison, at string, have, want any) {
	parts(map[string]rule{
		"httpGet": free, "tcpSocket": free, "grpc": free,
		"initialDelaySeconds": free, "timeoutSeconds": free, "periodSeconds": free, "successThreshold": free, "failureThreshold": free,
		"terminationGracePeriodSeconds": free,
	})(c, at, have, want)
}

// ports allows a port to be declared, which opens nothing, but not to take one
// of the node's.
func ports(c *comparison, at string, have, _ any) {
	list, ok := have.([]any)
	if have != nil && !ok {
		c.unequal(at, have, nil)
	}
	for _, p := range list {
		parts(map[string]rule{"name": free, "containerPort": free, "protocol": free})(c, at, p, nil)
	}
}

// mounts holds the agent's own mounts, and keeps others off the paths that
// matter to it.
func (a *allowances) mounts(c *comparison, at string, have, want any) {
	expected := map[string]map[string]any{}
	wanted, _ := want.([]any)
	for _, w := range wanted {
		if m, ok := w.(map[string]any); ok {
			expected[mountedAt(m)] = m
		}
	}
	list, ok := have.([]any)
	if have != nil && !ok {
		c.unequal(at, have, want)
	}
	for _, h := range list {
		m, _ := h.(map[string]any)
		where, name := mountedAt(m), m["name"]
		field := at + "[" + clipName(where) + "]"
		w := expected[where]
		switch {
		case w != nil && name == w["name"]:
			delete(expected, where)
			c.object(field, m, w, map[string]rule{
				"mountPath":         free, // compared by mountedAt
				"mountPropagation":  oneOf("None"),
				"recursiveReadOnly": oneOf("Disabled"),
				"readOnly":          sameSwitch,
			})
		case name == SessionVolume || name == IdentityVolume:
			c.differ("its %s must not be set: it mounts %s once more", field, name)
		case a.guarded(where):
			c.differ("its %s must not be set: it covers what the agent runs, reads or writes", field)
		}
	}
	for _, w := range wanted {
		if m, _ := w.(map[string]any); expected[mountedAt(m)] != nil {
			c.differ("it does not mount %s at %s", m["name"], mountedAt(m))
		}
	}
}

// sameSwitch is the rule of a boolean that is false if it is left out.
func sameSwitch(c *comparison, at string, have, want any) {
	is, boolean := have.(bool)
	wanted, _ := want.(bool)
	if have != nil && !boolean || is != wanted {
		c.unequal(at, have, want)
	}
}

// mountedAt is where the kubelet mounts: relative paths begin at the root
// (makeMounts in k8s.io/kubernetes/pkg/kubelet).
func mountedAt(mount map[string]any) string {
	p, _ := mount["mountPath"].(string)
	return path.Clean("/" + p)
}

// guarded reports whether a mount there could replace something of the agent's:
// over it, in it, or above it.
func (a *allowances) guarded(at string) bool {
	places := []string{"/proc", "/sys", "/dev", config.AgentPath, sessionDir, identityDir, apiTokenDir}
	if a.settings.agent.CABundle == "" {
		places = append(places, config.SystemRoots()...)
	}
	under := func(p, dir string) bool { return dir == "/" || samePath(p, dir) || below(p, dir) }
	return slices.ContainsFunc(places, func(p string) bool { return under(at, p) || under(p, at) })
}

// securityContext allows the users that the rule of users could have given, and
// nothing that adds a right.
func (a *allowances) securityContext(c *comparison, at string, have, want any) {
	h, ok := have.(map[string]any)
	w, _ := want.(map[string]any)
	if !ok {
		c.unequal(at, have, "one")
		return
	}
	root := h["runAsUser"] == float64(0) && a.isRoot(a.pod.user)
	c.object(at, h, w, map[string]rule{
		"runAsUser":    a.id(a.settings.user != nil, a.pod.user),
		"runAsGroup":   a.id(a.settings.group != nil, a.pod.group),
		"runAsNonRoot": func(c *comparison, at string, have, _ any) { mustEqual(c, at, have, !root) },
		"capabilities": parts(map[string]rule{"drop": dropAll}),
		// The API server's default, and the least that a runtime does anyway.
		"procMount":       oneOf("Default"),
		"appArmorProfile": oneOf(map[string]any{"type": "RuntimeDefault"}),
	})
}

// id is the rule of users and groups. What chooseIdentity gives depends on all
// containers, of which other webhooks add some after the agent. So any number
// is taken, and root's where an application is root as well: the agent has
// fewer rights than that. What profile or pod name explicitly stays.
func (a *allowances) id(given bool, of func(*containerView) *int64) rule {
	return func(c *comparison, at string, have, want any) {
		if have == want {
			return
		}
		n, ok := have.(float64)
		if given || !ok || n < 0 || n != float64(int64(n)) || n == 0 && !a.isRoot(of) {
			c.unequal(at, have, want)
		}
	}
}

// isRoot reports whether the pod says of an application that it is root, or of
// root's group.
func (a *allowances) isRoot(of func(*containerView) *int64) bool {
	return slices.ContainsFunc(a.pod.applications(), func(app container) bool {
		id := of(app.containerView)
		return id != nil && *id == 0
	})
}

// dropAll is the rule of the dropped capabilities, of which there may be more.
func dropAll(c *comparison, at string, have, want any) {
	if list, ok := have.([]any); !ok || !slices.Contains(list, any("ALL")) {
		c.unequal(at, have, want)
	}
}
