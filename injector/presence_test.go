package injector_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/injector"
)

// injectedPod is a pod with its agent, and that agent, to be changed.
type injectedPod struct {
	pod, spec, agent map[string]any
}

// inject injects a fixture's pod.
func inject(t testing.TB, i *injector.Injector, fixture string) *injectedPod {
	t.Helper()
	raw := fixtures(t)[fixture]
	d := i.Decide(raw)
	if d.Result != injector.Injected {
		t.Fatalf("%s is %s: %s", fixture, d.Result, d.Message())
	}
	return injectedFrom(t, apply(t, raw, d.Patch))
}

func injectedFrom(t testing.TB, raw []byte) *injectedPod {
	t.Helper()
	p := &injectedPod{pod: decodeAny(t, raw)}
	p.spec = object(p.pod["spec"])
	p.agent = named(p.spec["initContainers"], "gatepass-agent")
	return p
}

func (p *injectedPod) json(t testing.TB) []byte {
	t.Helper()
	raw, err := json.Marshal(p.pod)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// named is the entry of a list with that name.
func named(list any, name string) map[string]any {
	for _, e := range array(list) {
		if object(e)["name"] == name {
			return object(e)
		}
	}
	return nil
}

func (p *injectedPod) security() map[string]any { return object(p.agent["securityContext"]) }

func (p *injectedPod) set(name string, value any) {
	object(named(p.agent["env"], name))["value"] = value
}

// add appends an entry to one of the agent's lists.
func (p *injectedPod) add(list string, entry map[string]any) {
	p.agent[list] = append(array(p.agent[list]), entry)
}

func (p *injectedPod) token() map[string]any {
	return object(object(array(object(named(p.spec["volumes"], "gatepass-identity")["projected"])["sources"])[0])["serviceAccountToken"])
}

func mount(name, at string) map[string]any { return map[string]any{"name": name, "mountPath": at} }

const (
	plainPod   = "a-pod-with-nothing-but-the-annotation"
	sidecarPod = "vault-in-mode-sidecar"
	rootPod    = "an-application-that-is-root-throughout"
	digest     = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// A pod must not start with an agent that is none, whoever made it so. Every
// row is refused with the field that is wrong.
func TestForgedAgentsAreRefused(t *testing.T) {
	i := injector.New(profiles(t))
	for _, row := range []struct {
		name, fixture string
		forge         func(*injectedPod)
		says          string
	}{
		{"the agent's image from another registry", plainPod, func(p *injectedPod) { p.agent["image"] = "evil.example.com/gatepass/agent:v0.1.0" }, `its image is evil.example.com/gatepass/agent:v0.1.0 and not ghcr.io/gatepass/agent:v0.1.0`},
		{"another repository's image", plainPod, func(p *injectedPod) { p.agent["image"] = "ghcr.io/evil/agent:v0.1.0" }, `its image is ghcr.io/evil/agent:v0.1.0`},
		{"another program's image", plainPod, func(p *injectedPod) { p.agent["image"] = "busybox:v0.1.0" }, `its image is busybox:v0.1.0 and not`},
		{"another version's image", plainPod, func(p *injectedPod) { p.agent["image"] = "ghcr.io/gatepass/agent:v0.0.1" }, `its image is`},
		{"an image without a version", plainPod, func(p *injectedPod) { p.agent["image"] = "ghcr.io/gatepass/agent" }, `its image is`},
		{"a digest in another repository", plainPod, func(p *injectedPod) { p.agent["image"] = "ghcr.io/evil/agent:v0.1.0@" + digest }, `its image is`},
		{"a digest of another version", plainPod, func(p *injectedPod) { p.agent["image"] = "ghcr.io/gatepass/agent:v0.0.1@" + digest }, `its image is`},
		{"a registry's name as a path", plainPod, func(p *injectedPod) { p.agent["image"] = "evil.example.com/ghcr.io/gatepass/agent:v0.1.0" }, `its image is`},
		{"no image", plainPod, func(p *injectedPod) { delete(p.agent, "image") }, `its image is  and not`},
		{"a command", plainPod, func(p *injectedPod) { p.agent["command"] = []any{"/bin/sh"} }, `a command or arguments of its own (command)`},
		{"arguments", plainPod, func(p *injectedPod) { p.agent["args"] = []any{"--gateway-url=https://evil.example.com"} }, `a command or arguments of its own (args)`},
		{"a working directory", plainPod, func(p *injectedPod) { p.agent["workingDir"] = "/x" }, `its workingDir must not be set`},
		{"another gateway", plainPod, func(p *injectedPod) { p.set("GATEPASS_GATEWAY_URL", "https://evil.example.com") }, `its GATEPASS_GATEWAY_URL is "https://evil.example.com" and not "https://gatepass-gateway.gatepass-system.svc:8000"`},
		{"another protocol", plainPod, func(p *injectedPod) { p.set("GATEPASS_PROTOCOL", "vault") }, `its GATEPASS_PROTOCOL is "vault" and not "gateway"`},
		{"another mode", plainPod, func(p *injectedPod) { p.set("GATEPASS_MODE", "sidecar") }, `its GATEPASS_MODE is "sidecar"`},
		{"another access id", plainPod, func(p *injectedPod) { p.set("GATEPASS_ACCESS_ID", "p-zzzzzzz1234km") }, `its GATEPASS_ACCESS_ID is "p-zzzzzzz1234km" and not "p-abcdefg1234km"`},
		{"another auth config", plainPod, func(p *injectedPod) { p.set("GATEPASS_AUTH_CONFIG", "other") }, `its GATEPASS_AUTH_CONFIG is "other"`},
		{"another role", sidecarPod, func(p *injectedPod) { p.set("GATEPASS_ROLE", "admin") }, `its GATEPASS_ROLE is "admin"`},
		{"another auth path", sidecarPod, func(p *injectedPod) { p.set("GATEPASS_AUTH_PATH", "auth/other") }, `its GATEPASS_AUTH_PATH is "auth/other"`},
		{"another auth namespace", sidecarPod, func(p *injectedPod) { p.set("GATEPASS_AUTH_NAMESPACE", "team-b") }, `its GATEPASS_AUTH_NAMESPACE is "team-b"`},
		{"an address for metrics", plainPod, func(p *injectedPod) { p.set("GATEPASS_METRICS_ADDRESS", ":80") }, `its GATEPASS_METRICS_ADDRESS must not be set`},
		{"another token file", plainPod, func(p *injectedPod) { p.set("GATEPASS_TOKEN_FILE", "/tmp/x") }, `its GATEPASS_TOKEN_FILE is "/tmp/x"`},
		{"another identity file", plainPod, func(p *injectedPod) { p.set("GATEPASS_IDENTITY_FILE", "/tmp/x") }, `its GATEPASS_IDENTITY_FILE is "/tmp/x"`},
		{"another file for last words", plainPod, func(p *injectedPod) { p.set("GATEPASS_TERMINATION_MESSAGE_FILE", "/var/run/gatepass/token") }, `its GATEPASS_TERMINATION_MESSAGE_FILE is`},
		{"no CA", plainPod, func(p *injectedPod) { p.agent["env"] = without(p.agent["env"], "GATEPASS_CA_BUNDLE") }, `its GATEPASS_CA_BUNDLE is "" and not`},
		{"another CA", plainPod, func(p *injectedPod) {
			p.set("GATEPASS_CA_BUNDLE", "-----BEGIN CERTIFICATE-----\nevil\n-----END CERTIFICATE-----\n")
		}, `its GATEPASS_CA_BUNDLE has certificates that its profile has not`},
		{"one more CA", plainPod, func(p *injectedPod) {
			was, _ := named(p.agent["env"], "GATEPASS_CA_BUNDLE")["value"].(string)
			p.set("GATEPASS_CA_BUNDLE", was+"-----BEGIN CERTIFICATE-----\nevil\n-----END CERTIFICATE-----\n")
		}, `its GATEPASS_CA_BUNDLE has certificates that its profile has not`},
		{"a CA where the profile has none", sidecarPod, func(p *injectedPod) {
			p.set("GATEPASS_CA_BUNDLE", "-----BEGIN CERTIFICATE-----\nevil\n-----END CERTIFICATE-----\n")
		}, `its GATEPASS_CA_BUNDLE must not be set`},
		{"a variable that is given twice", plainPod, func(p *injectedPod) {
			p.add("env", map[string]any{"name": "GATEPASS_GATEWAY_URL", "value": "https://evil.example.com"})
		}, `it sets GATEPASS_GATEWAY_URL twice`},
		{"a variable from elsewhere", plainPod, func(p *injectedPod) {
			v := object(named(p.agent["env"], "GATEPASS_LOG_LEVEL"))
			delete(v, "value")
			v["valueFrom"] = map[string]any{"secretKeyRef": map[string]any{"name": "x", "key": "y"}}
		}, `its GATEPASS_LOG_LEVEL comes from elsewhere (valueFrom)`},
		{"a setting that no version has", plainPod, func(p *injectedPod) { p.add("env", map[string]any{"name": "GATEPASS_NEW", "value": "hunter2"}) }, `its GATEPASS_NEW must not be set`},
		{"debugging of the Go runtime", plainPod, func(p *injectedPod) { p.set("GODEBUG", "http2debug=2") }, `its GODEBUG must not be set`},
		{"debugging of the Go runtime, once more", plainPod, func(p *injectedPod) { p.add("env", map[string]any{"name": "GODEBUG", "value": "x=1"}) }, `it sets GODEBUG twice`},
		{"roots from a file, where the profile has no CA", sidecarPod, func(p *injectedPod) { p.set("SSL_CERT_FILE", "/x") }, `its SSL_CERT_FILE must not be set`},
		{"an environment from elsewhere that could set what is missing", plainPod, func(p *injectedPod) {
			p.agent["env"] = without(p.agent["env"], "GATEPASS_ROLE")
			p.add("envFrom", map[string]any{"configMapRef": map[string]any{"name": "x"}})
		}, `its GATEPASS_ROLE is missing, so that its envFrom could set it`},
		{"an agent that does not hold the application back", plainPod, func(p *injectedPod) { p.agent["restartPolicy"] = "Always" }, `its restartPolicy is "Always" and not ""`},
		{"a sidecar that ends", sidecarPod, func(p *injectedPod) { delete(p.agent, "restartPolicy") }, `its restartPolicy is "" and not "Always"`},
		{"a sidecar without its hook", sidecarPod, func(p *injectedPod) { delete(p.agent, "lifecycle") }, `its lifecycle hooks are others (lifecycle)`},
		{"a sidecar with another hook", sidecarPod, func(p *injectedPod) {
			object(p.agent["lifecycle"])["preStop"] = map[string]any{"exec": map[string]any{"command": []any{"x"}}}
		}, `its lifecycle hooks are others (lifecycle)`},
		{"rules for restarts", plainPod, func(p *injectedPod) { p.add("restartPolicyRules", map[string]any{"action": "Restart"}) }, `its restartPolicyRules must not be set`},
		{"a probe that runs a command", sidecarPod, func(p *injectedPod) {
			p.agent["livenessProbe"] = map[string]any{"exec": map[string]any{"command": []any{config.AgentPath, "--gateway-url=https://evil.example.com"}}}
		}, `its livenessProbe.exec must not be set`},
		{"a port of the node", plainPod, func(p *injectedPod) { p.add("ports", map[string]any{"containerPort": 80, "hostPort": 80}) }, `its ports.hostPort must not be set`},
		{"a device", plainPod, func(p *injectedPod) { p.add("volumeDevices", map[string]any{"name": "v", "devicePath": "/d"}) }, `its volumeDevices must not be set`},
		{"a claimed device", plainPod, func(p *injectedPod) { object(p.agent["resources"])["claims"] = []any{map[string]any{"name": "gpu"}} }, `its resources.claims must not be set`},
		{"a terminal", plainPod, func(p *injectedPod) { p.agent["tty"] = true }, `its tty must not be set`},
		{"last words over the program", plainPod, func(p *injectedPod) { p.agent["terminationMessagePath"] = config.AgentPath }, `its terminationMessagePath must not be set`},
		{"root", plainPod, func(p *injectedPod) { p.security()["runAsUser"] = 0 }, `its securityContext.runAsUser is 0 and not 65532`},
		{"root by saying nothing", plainPod, func(p *injectedPod) { delete(p.security(), "runAsUser") }, `its securityContext.runAsUser is missing`},
		{"root beside an application of root's that another user is meant for", rootPod, func(p *injectedPod) {
			object(p.spec["securityContext"])["runAsUser"] = 1000
		}, `its securityContext.runAsUser is 0 and not 1000`},
		{"root's group", plainPod, func(p *injectedPod) { p.security()["runAsGroup"] = 0 }, `its securityContext.runAsGroup is 0 and not 65532`},
		{"a user that may be root", plainPod, func(p *injectedPod) { p.security()["runAsNonRoot"] = false }, `its securityContext.runAsNonRoot is false and not true`},
		{"no security context", plainPod, func(p *injectedPod) { delete(p.agent, "securityContext") }, `its securityContext is missing`},
		{"a privileged container", plainPod, func(p *injectedPod) { p.security()["privileged"] = true }, `its securityContext.privileged is true and not false`},
		{"an escalation of privileges", plainPod, func(p *injectedPod) { p.security()["allowPrivilegeEscalation"] = true }, `its securityContext.allowPrivilegeEscalation is true and not false`},
		{"an escalation by saying nothing", plainPod, func(p *injectedPod) { delete(p.security(), "allowPrivilegeEscalation") }, `its securityContext.allowPrivilegeEscalation is missing`},
		{"an added capability", plainPod, func(p *injectedPod) { object(p.security()["capabilities"])["add"] = []any{"SYS_PTRACE"} }, `its securityContext.capabilities.add must not be set`},
		{"capabilities that are kept", plainPod, func(p *injectedPod) { object(p.security()["capabilities"])["drop"] = []any{"CHOWN"} }, `its securityContext.capabilities.drop is ["CHOWN"] and not ["ALL"]`},
		{"a writable root file system", plainPod, func(p *injectedPod) { p.security()["readOnlyRootFilesystem"] = false }, `its securityContext.readOnlyRootFilesystem is false`},
		{"a system call filter that is off", plainPod, func(p *injectedPod) { object(p.security()["seccompProfile"])["type"] = "Unconfined" }, `its securityContext.seccompProfile.type is "Unconfined" and not "RuntimeDefault"`},
		{"an AppArmor profile that is off", plainPod, func(p *injectedPod) { p.security()["appArmorProfile"] = map[string]any{"type": "Unconfined"} }, `its securityContext.appArmorProfile must not be set`},
		{"an open /proc", plainPod, func(p *injectedPod) { p.security()["procMount"] = "Unmasked" }, `its securityContext.procMount must not be set`},
		{"a label of SELinux", plainPod, func(p *injectedPod) { p.security()["seLinuxOptions"] = map[string]any{"type": "spc_t"} }, `its securityContext.seLinuxOptions must not be set`},
		{"options for Windows", plainPod, func(p *injectedPod) { p.security()["windowsOptions"] = map[string]any{"hostProcess": true} }, `its securityContext.windowsOptions must not be set`},
		{"a privilege that Kubernetes does not have yet", plainPod, func(p *injectedPod) { p.security()["becomeNode"] = true }, `its securityContext.becomeNode must not be set`},
		{"the session elsewhere", plainPod, func(p *injectedPod) { named(p.agent["volumeMounts"], "gatepass-session")["mountPath"] = "/x" }, `it does not mount gatepass-session at /var/run/gatepass`},
		{"a part of the session", plainPod, func(p *injectedPod) { named(p.agent["volumeMounts"], "gatepass-session")["subPath"] = "x" }, `its volumeMounts[/var/run/gatepass].subPath must not be set`},
		{"no token", plainPod, func(p *injectedPod) { p.agent["volumeMounts"] = without(p.agent["volumeMounts"], "gatepass-identity") }, `it does not mount gatepass-identity at /var/run/gatepass-identity`},
		{"another volume in the token's place", plainPod, func(p *injectedPod) { named(p.agent["volumeMounts"], "gatepass-identity")["name"] = "other" }, `it does not mount gatepass-identity`},
		{"the session once more", plainPod, func(p *injectedPod) { p.add("volumeMounts", mount("gatepass-session", "/y")) }, `its volumeMounts[/y] must not be set: it mounts gatepass-session once more`},
		{"another program", plainPod, func(p *injectedPod) { p.add("volumeMounts", mount("v", config.AgentPath)) }, `its volumeMounts[/gatepass-agent] must not be set: it covers what the agent runs`},
		{"another program, by a relative path", plainPod, func(p *injectedPod) { p.add("volumeMounts", mount("v", "./gatepass-agent/")) }, `its volumeMounts[/gatepass-agent] must not be set`},
		{"another root", plainPod, func(p *injectedPod) { p.add("volumeMounts", mount("v", "/")) }, `its volumeMounts[/] must not be set`},
		{"another token", plainPod, func(p *injectedPod) { p.add("volumeMounts", mount("v", "/var/run/gatepass-identity/token")) }, `its volumeMounts[/var/run/gatepass-identity/token] must not be set`},
		{"a volume above the token", plainPod, func(p *injectedPod) { p.add("volumeMounts", mount("v", "/var/run")) }, `its volumeMounts[/var/run] must not be set`},
		{"other roots, where the profile has no CA", sidecarPod, func(p *injectedPod) { p.add("volumeMounts", mount("v", "/etc/ssl/certs")) }, `its volumeMounts[/etc/ssl/certs] must not be set`},
		{"a session on disk", plainPod, func(p *injectedPod) { object(named(p.spec["volumes"], "gatepass-session")["emptyDir"])["medium"] = "" }, `no memory-backed volume`},
		{"a session without a limit", plainPod, func(p *injectedPod) {
			delete(object(named(p.spec["volumes"], "gatepass-session")["emptyDir"]), "sizeLimit")
		}, `its volume gatepass-session.emptyDir.sizeLimit is missing`},
		{"an identity that is no token", plainPod, func(p *injectedPod) {
			named(p.spec["volumes"], "gatepass-identity")["projected"] = map[string]any{"sources": []any{map[string]any{"downwardAPI": map[string]any{}}}}
		}, `no projected volume`},
		{"another audience", plainPod, func(p *injectedPod) { p.token()["audience"] = "" }, `its token is for audience "" and not for "gatepass"`},
		{"a token for longer", plainPod, func(p *injectedPod) { p.token()["expirationSeconds"] = 86400 }, `serviceAccountToken.expirationSeconds is 86400 and not 600`},
		{"a token of another name", plainPod, func(p *injectedPod) { p.token()["path"] = "x" }, `serviceAccountToken.path is "x" and not "token"`},
		{"a token for all", plainPod, func(p *injectedPod) {
			object(named(p.spec["volumes"], "gatepass-identity")["projected"])["defaultMode"] = 0o777
		}, `its volume gatepass-identity.projected.defaultMode must not be set`},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := inject(t, i, row.fixture)
			row.forge(p)
			d := i.Decide(p.json(t))
			if d.Result != injector.Denied || d.Reason != injector.ReasonForeignAgent || !strings.Contains(d.Message(), row.says) {
				t.Errorf("want foreign-agent with\n\t%s\ngot %s, %s:\n\t%s", row.says, d.Result, d.Reason, d.Message())
			}
			if strings.Contains(d.Message(), "hunter2") {
				t.Error("the refusal repeats a value that may be a secret")
			}
		})
	}
}

// neighbours are what other webhooks, and the API server, do to an agent.
func neighbours() map[string]func(*injectedPod) {
	return map[string]func(*injectedPod){
		"an image pinned to a digest, with its tag":    func(p *injectedPod) { p.agent["image"] = "ghcr.io/gatepass/agent:v0.1.0@" + digest },
		"an image pinned to a digest, without its tag": func(p *injectedPod) { p.agent["image"] = "ghcr.io/gatepass/agent@" + digest },
		"a pull policy":         func(p *injectedPod) { p.agent["imagePullPolicy"] = "Always" },
		"other resources":       func(p *injectedPod) { p.agent["resources"] = map[string]any{"limits": map[string]any{"cpu": "1"}} },
		"no resources":          func(p *injectedPod) { delete(p.agent, "resources") },
		"a policy for resizing": func(p *injectedPod) { p.add("resizePolicy", map[string]any{"resourceName": "cpu"}) },
		"a variable":            func(p *injectedPod) { p.add("env", map[string]any{"name": "CLUSTER", "value": "a"}) },
		"a variable from elsewhere": func(p *injectedPod) {
			p.add("env", map[string]any{"name": "NODE", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "spec.nodeName"}}})
		},
		"variables in another order": func(p *injectedPod) { slices.Reverse(array(p.agent["env"])) },
		"a ConfigMap's variables": func(p *injectedPod) {
			p.add("envFrom", map[string]any{"configMapRef": map[string]any{"name": "proxies"}})
		},
		"a proxy": func(p *injectedPod) {
			p.add("env", map[string]any{"name": "HTTPS_PROXY", "value": "http://proxy:3128"})
		},
		"a limit for Go's memory":    func(p *injectedPod) { p.add("env", map[string]any{"name": "GOMEMLIMIT", "value": "24MiB"}) },
		"roots beside the profile's": func(p *injectedPod) { p.add("env", map[string]any{"name": "SSL_CERT_FILE", "value": "/cas/all.pem"}) },
		"a mount of roots":           func(p *injectedPod) { p.add("volumeMounts", mount("cas", "/etc/ssl/certs")) },
		"a mount of another's token": func(p *injectedPod) {
			p.add("volumeMounts", mount("aws-iam-token", "/var/run/secrets/eks.amazonaws.com/serviceaccount"))
		},
		"a mount of a mesh's socket": func(p *injectedPod) { p.add("volumeMounts", mount("mesh", "/var/run/gatepass-neighbour")) },
		"a declared port": func(p *injectedPod) {
			p.add("ports", map[string]any{"containerPort": 9465, "name": "metrics", "protocol": "TCP"})
		},
		"a probe": func(p *injectedPod) {
			p.agent["readinessProbe"] = map[string]any{"tcpSocket": map[string]any{"port": 1}, "periodSeconds": 5}
		},
		"more dropped capabilities": func(p *injectedPod) { object(p.security()["capabilities"])["drop"] = []any{"NET_RAW", "ALL"} },
		"AppArmor's default":        func(p *injectedPod) { p.security()["appArmorProfile"] = map[string]any{"type": "RuntimeDefault"} },
		"another user that is not root": func(p *injectedPod) {
			p.security()["runAsUser"] = 1234
		},
		"another group that is not root's": func(p *injectedPod) { p.security()["runAsGroup"] = 1234 },
		"what the API server fills in": func(p *injectedPod) {
			p.agent["terminationMessagePath"], p.agent["imagePullPolicy"] = "/dev/termination-log", "IfNotPresent"
			p.security()["procMount"] = "Default"
			object(named(p.spec["volumes"], "gatepass-identity")["projected"])["defaultMode"] = 0o644
			for _, e := range array(p.agent["env"]) {
				if object(e)["value"] == "" {
					delete(object(e), "value")
				}
			}
			for _, m := range array(p.agent["volumeMounts"]) {
				object(m)["recursiveReadOnly"] = "Disabled"
			}
		},
		"a container that comes later": func(p *injectedPod) {
			p.spec["containers"] = append(array(p.spec["containers"]), map[string]any{"name": "proxy", "image": "x", "securityContext": map[string]any{"runAsUser": 1337}})
		},
	}
}

func TestWhatOtherWebhooksDoToTheAgentPasses(t *testing.T) {
	i := injector.New(profiles(t))
	for name, change := range neighbours() {
		t.Run(name, func(t *testing.T) {
			p := inject(t, i, plainPod)
			before := string(p.json(t))
			change(p)
			if string(p.json(t)) == before {
				t.Fatal("nothing was changed")
			}
			d := i.Decide(p.json(t))
			if !d.Allowed() || d.Reason != injector.ReasonAlreadyInjected && d.Reason != injector.ReasonCompleted {
				t.Fatalf("the pod is %s, %s: %s", d.Result, d.Reason, d.Message())
			}
			if again := i.Decide(apply(t, p.json(t), d.Patch)); again.Reason != injector.ReasonAlreadyInjected {
				t.Errorf("once more it is %s: %s", again.Reason, again.Message())
			}
		})
	}
}

// Beside an application that is root throughout the agent is root. A container
// that a mesh adds changes what the rule of users gives.
func TestAnAgentOfRootStaysWhenAnotherContainerComesLater(t *testing.T) {
	i := injector.New(profiles(t))
	p := inject(t, i, rootPod)
	neighbours()["a container that comes later"](p)
	if d := i.Decide(p.json(t)); d.Reason != injector.ReasonCompleted {
		t.Errorf("the pod is %s, %s: %s", d.Result, d.Reason, d.Message())
	}
}

// A bundle that lost a CA since is a part of the profile's no more, and one that
// gained a CA still has the agent's.
func TestAnAgentThatTrustsFewerCAsIsTakenWithAWarning(t *testing.T) {
	i := injector.New(profiles(t))
	p := inject(t, i, plainPod)
	data, err := os.ReadFile("testdata/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	first := "      caBundle: |\n"
	head, tail, _ := strings.Cut(string(data), first)
	block, rest, _ := strings.Cut(tail, "    login:")
	more := injector.New(parse(t, head+first+strings.Replace(block, "MIIBZzCCAQ2gAwIBAgIBATAK", "MIIBZzCCAQ2gAwIBAgIBAjAK", 1)+block+"    login:"+rest))
	d := more.Decide(p.json(t))
	if d.Reason != injector.ReasonAlreadyInjected || !strings.Contains(strings.Join(d.Warnings, ";"), "trusts fewer CAs for the gateway than its profile") {
		t.Errorf("the pod is %s, %s: %s %q", d.Result, d.Reason, d.Message(), d.Warnings)
	}
	raw := fixtures(t)[plainPod]
	if d := i.Decide(apply(t, raw, more.Decide(raw).Patch)); d.Reason != injector.ReasonForeignAgent {
		t.Errorf("an agent with a CA that its profile has lost is %s, %s", d.Result, d.Reason)
	}
}

// A webhook of the last release did not write empty variables.
func TestAnAgentWithoutTheEmptyVariablesIsTaken(t *testing.T) {
	i := injector.New(profiles(t))
	p := inject(t, i, plainPod)
	p.agent["env"] = slices.DeleteFunc(array(p.agent["env"]), func(e any) bool { return object(e)["value"] == "" })
	if d := i.Decide(p.json(t)); d.Reason != injector.ReasonAlreadyInjected {
		t.Errorf("the pod is %s, %s: %s", d.Result, d.Reason, d.Message())
	}
}

// A setting that declares nothing is trusted, and so is a new one: whatever it
// is, an agent that has another value is refused. The list of the others is
// repeated here, so that it does not grow by accident.
func TestOnlySettingsThatAreDeclaredHarmlessMayDiffer(t *testing.T) {
	i := injector.New(profiles(t))
	harmless := map[string]bool{"GATEPASS_TOKEN_MODE": true, "GATEPASS_TIMEOUT": true, "GATEPASS_REVOKE_ON_EXIT": true, "GATEPASS_LOG_LEVEL": true}
	if zero := (config.Setting{}); zero.Trust != config.Trusted {
		t.Error("a setting that declares nothing is not trusted")
	}
	for _, s := range config.Settings() {
		for _, fixture := range []string{plainPod, sidecarPod} {
			t.Run(s.Env+" of "+fixture, func(t *testing.T) {
				p := inject(t, i, fixture)
				if v := named(p.agent["env"], s.Env); v != nil {
					v["value"] = fmt.Sprint(v["value"], "x")
				} else {
					p.add("env", map[string]any{"name": s.Env, "value": "x"})
				}
				d := i.Decide(p.json(t))
				switch {
				case d.Allowed() != harmless[s.Env]:
					t.Errorf("the pod is %s, %s: %s", d.Result, d.Reason, d.Message())
				case !d.Allowed() && !strings.Contains(d.Message(), "its "+s.Env+" "):
					t.Errorf("the refusal does not name it: %s", d.Message())
				case d.Allowed() && s.Env != "GATEPASS_TOKEN_MODE" && !strings.Contains(strings.Join(d.Warnings, ";"), s.Env):
					t.Errorf("no warning names it: %q", d.Warnings)
				}
			})
		}
	}
}

// Every trusted setting is written, so that no envFrom can fill it.
func TestEveryTrustedSettingIsWritten(t *testing.T) {
	i := injector.New(profiles(t))
	for _, fixture := range []string{plainPod, sidecarPod} {
		p := inject(t, i, fixture)
		for _, s := range config.Settings() {
			if s.Trust != config.Harmless && named(p.agent["env"], s.Env) == nil {
				t.Errorf("%s: %s is not set", fixture, s.Env)
			}
		}
	}
}

// The remedy names both: the user has never seen a container that a webhook
// changed, and the author of a copy has.
func TestARefusedAgentComesWithItsRemedies(t *testing.T) {
	i := injector.New(profiles(t))
	p := inject(t, i, plainPod)
	p.agent["image"], p.security()["runAsUser"] = "mirror.example.com/agent:v0.1.0", 0
	d := i.Decide(p.json(t))
	for _, want := range []string{
		`the pod has an init container "gatepass-agent" already that is not what its profile asks for: its image is mirror.example.com/agent:v0.1.0 and not ghcr.io/gatepass/agent:v0.1.0, its securityContext.runAsUser is 0 and not 65532; `,
		"if another webhook changed the agent after Gatepass added it, exempt the init container gatepass-agent there, or list the mirror under imageMirrors",
		"if the pod is a copy of an injected one, or the container was written by hand, remove it and the volumes gatepass-session and gatepass-identity",
		"if a profile was changed just now, try again in two minutes",
	} {
		if !strings.Contains(d.Message(), want) {
			t.Errorf("want\n\t%s\nin\n\t%s", want, d.Message())
		}
	}
	many := inject(t, i, plainPod)
	for n := range 100 {
		many.security()[strings.Repeat("x", 200)+strconv.Itoa(n)] = true
	}
	long := i.Decide(many.json(t))
	if m := long.Message(); len(m) > 1000 || !strings.HasSuffix(m, "try again in two minutes") {
		t.Errorf("want a short refusal with its remedies, got %d bytes: %s", len(m), m)
	}
}

// What is decoded as a whole is bounded: JSON like [{},{},…] takes many times
// its size.
func TestAHugeAgentIsRefused(t *testing.T) {
	i := injector.New(profiles(t))
	p := inject(t, i, plainPod)
	p.agent["envFrom"] = slices.Repeat([]any{map[string]any{}}, 100_000)
	if d := i.Decide(p.json(t)); d.Reason != injector.ReasonMalformedPod || !strings.Contains(d.Message(), "larger than 262144 bytes") {
		t.Errorf("the pod is %s, %s: %s", d.Result, d.Reason, d.Message())
	}
}
