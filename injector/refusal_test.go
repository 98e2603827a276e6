package injector_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/injector"
)

// podYAML is a pod with these annotations (a YAML flow map) and spec.
func podYAML(t testing.TB, metadata, spec string) []byte {
	t.Helper()
	if spec == "" {
		spec = "{containers: [{name: app, image: x}]}"
	}
	raw, err := yaml.YAMLToJSON([]byte("apiVersion: v1\nkind: Pod\nmetadata: " + metadata + "\nspec: " + spec + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// annotated is the metadata of a pod that asks for a session, and for more.
func annotated(more ...string) string {
	return `{name: app, annotations: {gatepass.dev/inject: "true"` + strings.Join(append([]string{""}, more...), ", ") + `}}`
}

func TestRefusals(t *testing.T) {
	i := injector.New(profiles(t))
	for _, c := range []struct {
		name, metadata, spec string
		reason               injector.Reason
		message              string
	}{
		{"a misspelt opt-in is refused with the right spelling", `{annotations: {gatepass.dev/injekt: "true"}}`, "",
			injector.ReasonUnknownKey, `annotation gatepass.dev/injekt is not known; did you mean gatepass.dev/inject?`},
		{"a misspelt opt-in label is refused with the right spelling", `{labels: {gatepass.dev/Inject: "true"}}`, "",
			injector.ReasonUnknownKey, `label gatepass.dev/Inject is not known; did you mean gatepass.dev/inject?`},
		{"an annotation used as a label is refused", `{labels: {gatepass.dev/inject: "true", gatepass.dev/mode: init}}`, "",
			injector.ReasonUnknownKey, `label gatepass.dev/mode has no effect; only gatepass.dev/inject works as a label, make gatepass.dev/mode an annotation`},
		{"a key that resembles none is refused with the list", annotated(`gatepass.dev/zzzzzzzzzzzzzzzz: x`), "",
			injector.ReasonUnknownKey, `annotation gatepass.dev/zzzzzzzzzzzzzzzz is not known; known are inject, profile, mode,`},
		{"an opt-in that is neither true nor false is refused", `{annotations: {gatepass.dev/inject: "yes"}}`, "",
			injector.ReasonInvalidValue, `annotation gatepass.dev/inject: "yes" is neither true nor false; write "true" to get a session`},
		{"an opt-in with other letters is refused", `{annotations: {gatepass.dev/inject: "True"}}`, "", injector.ReasonInvalidValue, `"True" is neither true nor false`},
		{"an empty opt-in is refused", `{annotations: {gatepass.dev/inject: ""}}`, "", injector.ReasonInvalidValue, `"" is neither true nor false`},
		{"an opt-in label that is wrong is refused", `{labels: {gatepass.dev/inject: enabled}}`, "", injector.ReasonInvalidValue, `label gatepass.dev/inject: "enabled" is neither`},
		{"an annotation and a label that contradict each other are refused", `{annotations: {gatepass.dev/inject: "true"}, labels: {gatepass.dev/inject: "false"}}`, "",
			injector.ReasonContradiction, `annotation gatepass.dev/inject="true" contradicts label gatepass.dev/inject="false"; make them the same or remove one`},
		{"a setting without an opt-in is refused", `{annotations: {gatepass.dev/profile: default}}`, "",
			injector.ReasonNotOptedIn, `annotation gatepass.dev/profile is set, but the pod does not ask for a session; add the annotation gatepass.dev/inject: "true", or remove gatepass.dev/profile`},
		{"an unknown profile is refused with the nearest one", annotated(`gatepass.dev/profile: valut`), "",
			injector.ReasonUnknownProfile, `annotation gatepass.dev/profile: no profile is named "valut"; did you mean vault? there are: default, left-out, locked, proxied, pulled, vault`},
		{"a setting that the profile keeps is refused", annotated(`gatepass.dev/profile: locked`, `gatepass.dev/mode: init`), "",
			injector.ReasonOverrideNotAllowed, `annotation gatepass.dev/mode: profile "locked" does not let pods set it (it allows: nothing); remove it, or ask the administrator to list it in the profile's overrides`},
		{"a setting of the other protocol is refused", annotated(`gatepass.dev/role: x`), "",
			injector.ReasonWrongProtocol, `annotation gatepass.dev/role is for protocol vault, but profile "default" speaks gateway; remove it or choose another profile`},
		{"a gateway's setting with a vault profile is refused", annotated(`gatepass.dev/profile: vault`, `gatepass.dev/access-id: x`), "", injector.ReasonWrongProtocol, `is for protocol gateway`},
		{"an unknown mode is refused", annotated(`gatepass.dev/mode: sidcar`), "", injector.ReasonInvalidValue, `annotation gatepass.dev/mode: "sidcar" is not a mode; use init or sidecar`},
		{"an unknown container is refused with the nearest one", annotated(`gatepass.dev/containers: "app,wroker"`), `{containers: [{name: app}, {name: worker}]}`,
			injector.ReasonUnknownContainer, `annotation gatepass.dev/containers: the pod has no container "wroker"; did you mean worker? it has: app, worker`},
		{"an empty entry in the list of containers is refused", annotated(`gatepass.dev/containers: "app,,"`), "", injector.ReasonInvalidValue, `"app,," has an empty entry`},
		{"an empty list of containers is refused", annotated(`gatepass.dev/containers: ""`), "", injector.ReasonInvalidValue, `"" has an empty entry`},
		{"the agent can't be listed as a container", annotated(`gatepass.dev/containers: gatepass-agent`), "", injector.ReasonUnknownContainer, `the pod has no container "gatepass-agent"`},
		{"a relative mount path is refused", annotated(`gatepass.dev/mount-path: run/x`), "", injector.ReasonInvalidValue, `"run/x" is not an absolute path; use for example /var/run/gatepass`},
		{"the root as mount path is refused", annotated(`gatepass.dev/mount-path: "//."`), "", injector.ReasonInvalidValue, `the root folder can't be a mount path`},
		{"a mount path that climbs is refused", annotated(`gatepass.dev/mount-path: /a/../etc`), "", injector.ReasonInvalidValue, `climbs with ..`},
		{"a mount path with a colon is refused", annotated(`gatepass.dev/mount-path: "/a:b"`), "", injector.ReasonInvalidValue, `holds a colon`},
		{"a mount path in /proc is refused", annotated(`gatepass.dev/mount-path: /proc/self`), "", injector.ReasonInvalidValue, `belongs to the container runtime`},
		{"a mount path with a line feed is refused", annotated(`gatepass.dev/mount-path: "/a\nb"`), "", injector.ReasonInvalidValue, `holds control characters`},
		{"a token file with a slash is refused", annotated(`gatepass.dev/token-file: a/b`), "", injector.ReasonInvalidValue, `"a/b" is not a file name`},
		{"a token file named ca.crt is refused", annotated(`gatepass.dev/token-file: ca.crt`), "", injector.ReasonInvalidValue, `the gateway's authority`},
		{"a token file named session.json is refused", annotated(`gatepass.dev/token-file: session.json`), "", injector.ReasonInvalidValue, `describes the session`},
		{"a hidden token file is refused", annotated(`gatepass.dev/token-file: .token`), "", injector.ReasonInvalidValue, `begins with a dot`},
		{"an empty token file is refused", annotated(`gatepass.dev/token-file: ""`), "", injector.ReasonInvalidValue, `is not a file name`},
		{"a token mode that is not octal is refused", annotated(`gatepass.dev/token-mode: "0688"`), "", injector.ReasonInvalidValue, `"0688" is not an octal file mode`},
		{"a token mode that lets everybody write is refused", annotated(`gatepass.dev/token-mode: "0666"`), "", injector.ReasonInvalidValue, `lets everybody write`},
		{"a token mode that hides the file from its owner is refused", annotated(`gatepass.dev/token-mode: "0040"`), "", injector.ReasonInvalidValue, `does not let the owner read`},
		{"an empty audience is refused", annotated(`gatepass.dev/audience: ""`), "", injector.ReasonInvalidValue, `annotation gatepass.dev/audience: is empty`},
		{"an audience with white space is refused", annotated(`gatepass.dev/audience: "a b"`), "", injector.ReasonInvalidValue, `white space`},
		{"a token life below Kubernetes' least is refused", annotated(`gatepass.dev/token-expiration-seconds: "599"`), "", injector.ReasonInvalidValue, `599 is out of range; Kubernetes takes 600 to 4294967296 seconds`},
		{"a token life that is no number is refused", annotated(`gatepass.dev/token-expiration-seconds: 1h`), "", injector.ReasonInvalidValue, `"1h" is not a number of seconds`},
		{"an image with white space is refused", annotated(`gatepass.dev/agent-image: "a b"`), "", injector.ReasonInvalidValue, `holds white space`},
		{"a quantity that is none is refused", annotated(`gatepass.dev/agent-limits-memory: lots`), "", injector.ReasonInvalidValue, `"lots" is not a quantity; use for example 16Mi`},
		{"a negative quantity is refused", annotated(`gatepass.dev/agent-limits-memory: "-1Mi"`), "", injector.ReasonInvalidValue, `"-1Mi" is negative`},
		{"memory in bytes is refused with the unit", annotated(`gatepass.dev/agent-limits-memory: "64"`), "", injector.ReasonInvalidValue, `annotation gatepass.dev/agent-limits-memory: "64" is 64 bytes; did you mean 64Mi?`},
		{"memory in thousandths of a byte is refused with the unit", annotated(`gatepass.dev/agent-requests-memory: 32m`), "", injector.ReasonInvalidValue, `"32m" is 0.032 bytes; did you mean 32Mi?`},
		{"memory in kilobytes is refused with the unit", annotated(`gatepass.dev/agent-requests-memory: 64k`), "", injector.ReasonInvalidValue, `"64k" is 64000 bytes; did you mean 64Mi?`},
		{"a unit that Kubernetes does not have is refused", annotated(`gatepass.dev/agent-limits-memory: 64MB`), "", injector.ReasonInvalidValue, `"64MB" is not a quantity; use for example 16Mi`},
		{"a memory limit that the agent can't start with is refused", annotated(`gatepass.dev/agent-limits-memory: 8Mi`), "", injector.ReasonInvalidValue, `"8Mi" is less than the agent needs, which would be killed for it; use 16Mi or more`},
		{"a memory limit of nothing is refused", annotated(`gatepass.dev/agent-limits-memory: "0"`), "", injector.ReasonInvalidValue, `"0" leaves nothing; remove it for no limit`},
		{"CPU with a unit of memory is refused", annotated(`gatepass.dev/agent-requests-cpu: 10Mi`), "", injector.ReasonInvalidValue, `"10Mi" is 10485760 cores; did you mean 10m (thousandths of a core)?`},
		{"CPU without the unit that was meant is refused", annotated(`gatepass.dev/agent-limits-cpu: "100"`), "", injector.ReasonInvalidValue, `"100" is 100 cores; did you mean 100m`},
		{"CPU below Kubernetes' least is refused", annotated(`gatepass.dev/agent-requests-cpu: "0.0005"`), "", injector.ReasonInvalidValue, `less than a thousandth of a core`},
		{"local storage in bytes is refused with the unit", annotated(`gatepass.dev/agent-requests-ephemeral-storage: "8"`), "", injector.ReasonInvalidValue, `"8" is 8 bytes; did you mean 8Mi?`},
		{"a request for local storage above its limit is refused", annotated(`gatepass.dev/agent-requests-ephemeral-storage: 8Mi`, `gatepass.dev/agent-limits-ephemeral-storage: 4Mi`), "", injector.ReasonContradiction, `the request for ephemeral-storage (8Mi) is above its limit (4Mi)`},
		{"an excluded container that the pod does not have is refused", annotated(`gatepass.dev/exclude-containers: istio-prxy`), `{containers: [{name: app}, {name: istio-proxy}]}`,
			injector.ReasonUnknownContainer, `annotation gatepass.dev/exclude-containers: the pod has no container "istio-prxy"; did you mean istio-proxy? it has: app, istio-proxy (one that another webhook adds later is left out by the profile's excludeContainers)`},
		{"an empty entry in the list of excluded containers is refused", annotated(`gatepass.dev/exclude-containers: ","`), "", injector.ReasonInvalidValue, `has an empty entry`},
		{"two lists of containers are refused", annotated(`gatepass.dev/containers: app`, `gatepass.dev/exclude-containers: log`), `{containers: [{name: app}, {name: log}]}`,
			injector.ReasonContradiction, `annotations gatepass.dev/containers and gatepass.dev/exclude-containers are both set`},
		{"a pod that excludes all of its containers is refused", annotated(`gatepass.dev/exclude-containers: app`), "", injector.ReasonContradiction, `none of its containers gets it (app)`},
		{"a pod of a mesh's proxy alone is refused", annotated(), `{containers: [{name: istio-proxy}]}`, injector.ReasonContradiction, `name those that need it in gatepass.dev/containers`},
		{"an excluded container that mounts the session is refused", annotated(`gatepass.dev/exclude-containers: spy`), `{containers: [{name: app}, {name: spy, volumeMounts: [{name: gatepass-session, mountPath: /var/run/gatepass, readOnly: true}]}]}`,
			injector.ReasonMountConflict, `container "spy" mounts gatepass-session, but the annotation gatepass.dev/exclude-containers leaves it out`},
		{"a request above the limit is refused", annotated(`gatepass.dev/agent-requests-memory: 64Mi`), "", injector.ReasonContradiction, `the request for memory (64Mi) is above its limit (32Mi)`},
		{"a revocation in mode init is refused", annotated(`gatepass.dev/revoke-on-exit: "true"`), "", injector.ReasonContradiction, `annotation gatepass.dev/revoke-on-exit needs mode sidecar, but the mode is init`},
		{"a revocation that is neither true nor false is refused", annotated(`gatepass.dev/mode: sidecar`, `gatepass.dev/revoke-on-exit: "yes"`), "", injector.ReasonInvalidValue, `"yes" is neither true nor false`},
		{"root as the agent's user is refused", annotated(`gatepass.dev/agent-run-as-user: "0"`), "", injector.ReasonInvalidValue, `0 is out of range; use 1 to 2147483647`},
		{"an agent's user that is a name is refused", annotated(`gatepass.dev/agent-run-as-user: nobody`), "", injector.ReasonInvalidValue, `"nobody" is not a numeric id`},
		{"an unknown log level is refused", annotated(`gatepass.dev/log-level: trace`), "", injector.ReasonInvalidValue, `"trace" is not a log level`},
		{"a timeout that is none is refused", annotated(`gatepass.dev/timeout: "60"`), "", injector.ReasonInvalidValue, `"60" is not a duration`},
		{"a timeout of a day is refused", annotated(`gatepass.dev/timeout: 24h`), "", injector.ReasonInvalidValue, `24h is out of range`},
		{"an auth path that climbs is refused", annotated(`gatepass.dev/profile: vault`, `gatepass.dev/auth-path: auth/../sys`), "", injector.ReasonInvalidValue, `climbs with ..`},
		{"an auth path with a query is refused", annotated(`gatepass.dev/profile: vault`, `gatepass.dev/auth-path: "auth?x"`), "", injector.ReasonInvalidValue, `characters that a mount path can't`},
		{"a pod for Windows by its os is refused", annotated(), `{os: {name: windows}, containers: [{name: app}]}`, injector.ReasonWindows, `the pod is for Windows nodes, for which there is no agent; remove gatepass.dev/inject`},
		{"a pod for Windows by its node selector is refused", annotated(), `{nodeSelector: {kubernetes.io/os: windows}, containers: [{name: app}]}`, injector.ReasonWindows, `Windows`},
		{"a mount path of a kilobyte is refused", annotated(`gatepass.dev/mount-path: "/` + strings.Repeat("a", 1000) + `"`), "", injector.ReasonInvalidValue, `is longer than 512 bytes`},
		{"a quantity with a huge exponent is refused", annotated(`gatepass.dev/agent-limits-cpu: "1e-9999999"`), "", injector.ReasonInvalidValue, `"1e-9999999" is not a quantity`},
		{"a quantity of many digits is refused", annotated(`gatepass.dev/agent-limits-cpu: "0.0000000000000000000000000001"`), "", injector.ReasonInvalidValue, `is not a quantity`},
		{"a container that is left out and mounts the session is refused", annotated(`gatepass.dev/containers: app`), `{containers: [{name: app}, {name: spy, volumeMounts: [{name: gatepass-session, mountPath: /x}]}]}`, injector.ReasonMountConflict, `container "spy" mounts gatepass-session, but the annotation gatepass.dev/containers leaves it out`},
		{"a mount of a part of the session by an application is refused", annotated(), `{containers: [{name: app, volumeMounts: [{name: gatepass-session, mountPath: /var/run/gatepass, subPath: x, readOnly: true}]}]}`, injector.ReasonMountConflict, `mounts gatepass-session at /var/run/gatepass; remove the mount`},
		{"a session inside a mounted ConfigMap is refused", annotated(`gatepass.dev/mount-path: /etc/app/session`), `{volumes: [{name: v, configMap: {name: x}}], containers: [{name: app, volumeMounts: [{name: v, mountPath: /etc/app}]}]}`, injector.ReasonMountConflict, `mounts volume "v" read-only at /etc/app`},
		{"a session inside an image volume is refused", annotated(`gatepass.dev/mount-path: /data/session`), `{volumes: [{name: v, image: {reference: x}}], containers: [{name: app, volumeMounts: [{name: v, mountPath: /data}]}]}`, injector.ReasonMountConflict, `mounts volume "v" read-only at /data`},
		{"a session inside a read-only CSI volume is refused", annotated(`gatepass.dev/mount-path: /data/session`), `{volumes: [{name: v, csi: {driver: x, readOnly: true}}], containers: [{name: app, volumeMounts: [{name: v, mountPath: /data}]}]}`, injector.ReasonMountConflict, `mounts volume "v" read-only at /data`},
		{"a session inside a read-only claim is refused", annotated(`gatepass.dev/mount-path: /data/session`), `{volumes: [{name: v, persistentVolumeClaim: {claimName: x, readOnly: true}}], containers: [{name: app, volumeMounts: [{name: v, mountPath: /data}]}]}`, injector.ReasonMountConflict, `mounts volume "v" read-only at /data`},
		{"a read-only mount at /run above the session's path is refused", annotated(), `{containers: [{name: app, volumeMounts: [{name: v, mountPath: /run, readOnly: true}]}]}`, injector.ReasonMountConflict, `read-only at /run, so that the session can't appear at /var/run/gatepass`},
		{"a mount at /run/gatepass is refused", annotated(), `{containers: [{name: app, volumeMounts: [{name: v, mountPath: /run/gatepass}]}]}`, injector.ReasonMountConflict, `at /run/gatepass, where the session should appear`},
		{"a mount inside /run/gatepass is refused", annotated(), `{containers: [{name: app, volumeMounts: [{name: v, mountPath: /run/gatepass/x}]}]}`, injector.ReasonMountConflict, `inside the session's read-only folder`},
		{"a mount path that hides what a container needs is refused", annotated(`gatepass.dev/mount-path: /etc`), "", injector.ReasonInvalidValue, `annotation gatepass.dev/mount-path: "/etc" would hide the image's configuration and CA certificates; choose a directory of its own, for example /etc/gatepass`},
		{"a pod for Windows by its affinity is refused", annotated(), `{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [windows]}]}]}}}, containers: [{name: app}]}`, injector.ReasonWindows, `Windows`},
		{"a device at the session's path is refused", annotated(), `{containers: [{name: app, volumeDevices: [{name: v, devicePath: /var/run/gatepass}]}]}`, injector.ReasonMountConflict, `has a device at /var/run/gatepass`},
		{"a second variable of ours with another value is refused", annotated(), `{containers: [{name: app, env: [{name: GATEPASS_TOKEN_FILE, value: /var/run/gatepass/token}, {name: GATEPASS_TOKEN_FILE, value: /x}]}]}`, injector.ReasonEnvConflict, `sets GATEPASS_TOKEN_FILE itself`},
		{"a volume of ours without its agent is refused with the right fix", annotated(), `{volumes: [{name: gatepass-identity, projected: {sources: []}}], containers: [{name: app}]}`, injector.ReasonNameConflict, `but there is no agent; remove the volume and its mounts`},
		{"a pod without containers is refused", annotated(), `{volumes: []}`, injector.ReasonMalformedPod, `the pod has no spec.containers`},
		{"a volume with our name is refused", annotated(), `{volumes: [{name: gatepass-session, emptyDir: {}}], containers: [{name: app}]}`, injector.ReasonNameConflict, `spec.volumes has a volume named "gatepass-session"`},
		{"a container with the agent's name is refused", annotated(), `{containers: [{name: app}, {name: gatepass-agent}]}`, injector.ReasonNameConflict, `spec.containers[1] is named "gatepass-agent"`},
		{"an init container that only has the agent's name is refused", annotated(), `{initContainers: [{name: gatepass-agent, image: x}], containers: [{name: app}]}`, injector.ReasonForeignAgent, `that is not what its profile asks for: there is no memory-backed volume gatepass-session`},
		{"a mount at the session's path is refused", annotated(), `{volumes: [{name: v}], containers: [{name: app, volumeMounts: [{name: v, mountPath: /var/run/gatepass/}]}]}`,
			injector.ReasonMountConflict, `container "app" mounts volume "v" at /var/run/gatepass, where the session should appear; choose another path with the annotation gatepass.dev/mount-path`},
		{"a mount inside the session's folder is refused", annotated(), `{containers: [{name: app, volumeMounts: [{name: v, mountPath: /var/run/gatepass/x}]}]}`, injector.ReasonMountConflict, `inside the session's read-only folder`},
		{"a read-only mount above the session's path is refused", annotated(), `{containers: [{name: app, volumeMounts: [{name: v, mountPath: /var/run, readOnly: true}]}]}`, injector.ReasonMountConflict, `so that the session can't appear`},
		{"a mount of the session at another path is refused", annotated(), `{containers: [{name: app, volumeMounts: [{name: gatepass-session, mountPath: /x}]}]}`, injector.ReasonMountConflict, `mounts gatepass-session at /x`},
		{"a writable mount of the session is refused", annotated(), `{containers: [{name: app, volumeMounts: [{name: gatepass-session, mountPath: /var/run/gatepass}]}]}`, injector.ReasonMountConflict, `mounts gatepass-session writable`},
		{"a container that mounts the agent's token is refused", annotated(`gatepass.dev/containers: app`), `{containers: [{name: app}, {name: spy, volumeMounts: [{name: gatepass-identity, mountPath: /x}]}]}`, injector.ReasonMountConflict, `container "spy" mounts gatepass-identity, which is for the agent alone`},
		{"a variable of ours with another value is refused", annotated(), `{containers: [{name: app, env: [{name: GATEPASS_TOKEN_FILE, value: /x}]}]}`, injector.ReasonEnvConflict, `container "app" sets GATEPASS_TOKEN_FILE itself; remove that variable, or make it "/var/run/gatepass/token"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := i.Decide(podYAML(t, c.metadata, c.spec))
			if d.Result != injector.Denied || d.Reason != c.reason || d.Patch != nil {
				t.Errorf("want denied for %s, got %s for %s (%d bytes of patch)", c.reason, d.Result, d.Reason, len(d.Patch))
			}
			if !strings.Contains(d.Message(), c.message) {
				t.Errorf("want a message with\n\t%s\ngot\n\t%s", c.message, d.Message())
			}
		})
	}
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	i := injector.New(profiles(t))
	d := i.Decide(podYAML(t, annotated(`gatepass.dev/mdoe: init`, `gatepass.dev/mode: x`, `gatepass.dev/timeout: soon`, `gatepass.dev/containers: nobody`), ""))
	if len(d.Problems) != 4 || !strings.HasPrefix(d.Message(), "4 problems; (1) ") {
		t.Errorf("want four problems, got %q", d.Message())
	}
}

func TestNoDefaultProfile(t *testing.T) {
	set := parse(t, strings.Replace(minimal, "default:", "other:", 1))
	d := injector.New(set).Decide(podYAML(t, annotated(), ""))
	if want := `no profile is named "default"; choose one with the annotation gatepass.dev/profile (there are: other)`; d.Message() != want {
		t.Errorf("want %q, got %q", want, d.Message())
	}
}

func TestPodsThatAreLeftAlone(t *testing.T) {
	i := injector.New(profiles(t))
	for _, c := range []struct {
		name, metadata string
		reason         injector.Reason
		warning        string
	}{
		{"a pod without our keys", `{name: app, annotations: {example.com/inject: "true"}}`, injector.ReasonNotRequested, ""},
		{"a pod that opts out", `{annotations: {gatepass.dev/inject: "false"}}`, injector.ReasonOptedOut, ""},
		{"a pod that opts out by label", `{labels: {gatepass.dev/inject: "false"}}`, injector.ReasonOptedOut, ""},
		{"a pod that opts out and keeps its settings", `{annotations: {gatepass.dev/inject: "false", gatepass.dev/profile: vault}}`, injector.ReasonOptedOut, ""},
		{"a static pod", `{annotations: {gatepass.dev/inject: "true", kubernetes.io/config.mirror: abc}}`, injector.ReasonMirrorPod, "static pod"},
		{"a pod that only claims to be injected", `{annotations: {gatepass.dev/status: injected}}`, injector.ReasonNotRequested, "gatepass.dev/status means nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := i.Decide(podYAML(t, c.metadata, ""))
			if d.Result != injector.Skipped || d.Reason != c.reason || d.Patch != nil {
				t.Errorf("want skipped for %s, got %s for %s: %s", c.reason, d.Result, d.Reason, d.Message())
			}
			if got := strings.Join(d.Warnings, "; "); !strings.Contains(got, c.warning) || c.warning == "" && got != "" {
				t.Errorf("want a warning with %q, got %q", c.warning, got)
			}
		})
	}
}

func TestObjectsThatAreNoPods(t *testing.T) {
	i := injector.New(profiles(t))
	for _, raw := range []string{``, `null{`, `[]`, `"x"`, `{"metadata":[]}`, `{"metadata":{"annotations":{"gatepass.dev/inject":true}}}`,
		`{"metadata":{"annotations":{"a":"1","a":"2"}}}`, "{\"metadata\":{\"name\":\"\xff\"}}", `{"spec":{"containers":{}}}`, strings.Repeat("[", 100_000)} {
		if d := i.Decide([]byte(raw)); d.Result != injector.Denied || d.Reason != injector.ReasonMalformedPod {
			t.Errorf("%.40q: want it denied as malformed, got %s for %s", raw, d.Result, d.Reason)
		}
	}
}

func TestRefusalsStayShort(t *testing.T) {
	i := injector.New(profiles(t))
	long := i.Decide(podYAML(t, annotated(`gatepass.dev/mode: "`+strings.Repeat("ü", 50_000)+`"`), ""))
	if m := long.Message(); len(m) > 1000 || !strings.HasPrefix(m, "annotation gatepass.dev/mode: ") || !strings.HasSuffix(m, "is not a mode; use init or sidecar") {
		t.Errorf("want key and fix of a long value kept, got %d bytes: %s", len(m), m)
	}
	var keys []string
	for n := range 3000 {
		keys = append(keys, `gatepass.dev/x`+strings.Repeat("y", n%40)+strings.Repeat("z", n/40)+`: ""`)
	}
	many := i.Decide(podYAML(t, annotated(keys...), ""))
	if m := many.Message(); len(many.Problems) != 16 || !strings.HasPrefix(m, "3000 problems; (1) ") || !strings.HasSuffix(m, "; and 2984 more") {
		t.Errorf("want 16 of 3000 problems, got %d: %.60s", len(many.Problems), m)
	}
	var names []string
	for n := range 20_000 {
		names = append(names, "x"+strings.Repeat("a", n%5)+strings.Repeat("b", n/5%63))
	}
	list := i.Decide(podYAML(t, annotated(`gatepass.dev/containers: "app,`+strings.Join(names[1:], ",")+`"`), ""))
	if len(list.Problems) != 16 || list.Reason != injector.ReasonUnknownContainer {
		t.Errorf("want 16 unknown containers, got %d for %s", len(list.Problems), list.Reason)
	}
}

func TestAnUnreadablePodIsNotQuoted(t *testing.T) {
	d := injector.New(profiles(t)).Decide([]byte(`{"spec":{"containers":[{"env":[{"name":"GATEPASS_X","value":{"password":"hunter2"}}]}]}}`))
	if d.Reason != injector.ReasonMalformedPod || strings.Contains(d.Message(), "hunter2") {
		t.Errorf("want a refusal without the value, got %q", d.Message())
	}
}

// The additions grow with the number of containers, and a small pod may have
// many of them.
func TestHugeAdditionsAreRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"metadata":{"annotations":{"gatepass.dev/inject":"true","gatepass.dev/mount-path":"/` + strings.Repeat("a", 500) + `"}},"spec":{"containers":[{"name":"c"}`)
	for range 50_000 {
		b.WriteString(`,{"name":"c"}`)
	}
	b.WriteString(`]}}`)
	d := injector.New(profiles(t)).Decide([]byte(b.String()))
	if d.Result != injector.Denied || d.Reason != injector.ReasonTooLarge || d.Patch != nil {
		t.Errorf("want it denied as too large, got %s for %s with %d bytes", d.Result, d.Reason, len(d.Patch))
	}
}

// Looking for the nearest of thousands of names would only cost.
func TestNoNameIsGuessedAmongMany(t *testing.T) {
	i := injector.New(profiles(t))
	spec := func(n int) string {
		return `{containers: [{name: worker}` + strings.Repeat(`, {name: x}`, n-1) + `]}`
	}
	for n, guesses := range map[int]bool{100: true, 101: false} {
		d := i.Decide(podYAML(t, annotated(`gatepass.dev/containers: wroker`), spec(n)))
		if d.Reason != injector.ReasonUnknownContainer || strings.Contains(d.Message(), "did you mean worker?") != guesses {
			t.Errorf("%d containers: %s", n, d.Message())
		}
	}
}
