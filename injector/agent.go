package injector

import (
	"strings"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/injector/profile"
)

// The names of what is added to a pod.
const (
	AgentContainer = "gatepass-agent"
	SessionVolume  = "gatepass-session"
	IdentityVolume = "gatepass-identity"
	// TokenFileEnv tells an application where its session token lies.
	TokenFileEnv = "GATEPASS_TOKEN_FILE"
)

// sessionVolumeLimit bounds the memory that the session's files may take; a
// token and its description are a few kilobytes.
const sessionVolumeLimit = "1Mi"

// Where the agent sees its volumes; an application sees the session at its
// own mount path.
const (
	sessionDir   = config.SessionDir
	identityDir  = config.IdentityDir
	identityFile = config.IdentityFileName
)

// apiTokenDir is where Kubernetes' ServiceAccount admission plugin mounts the
// token for the API server into every container that has no mount there
// (DefaultAPITokenMountPath in k8s.io/kubernetes). The agent has no use for
// that token, so its own one is mounted there as well.
const apiTokenDir = "/var/run/secrets/kubernetes.io/serviceaccount" //nolint:gosec // a path, no credential

// agentEnv is the agent's environment for this pod.
func (s *settings) agentEnv(id identity) []config.Variable {
	c := s.agent
	c.TokenFile = sessionDir + "/" + s.tokenFile
	c.TokenMode = id.mode
	return c.SealedEnv()
}

// literal escapes a value of an environment variable, in which Kubernetes
// would expand $(NAME); "$$" stands for one dollar sign.
func literal(v string) string { return strings.ReplaceAll(v, "$", "$$") }

// agentContainer writes the init container. Everything in its security
// context is what the restricted Pod Security Standard asks for.
func (p *patch) agentContainer(s *settings, id identity) {
	p.raw(`{"name":"` + AgentContainer + `"`)
	p.textField("image", s.image)
	if s.pullPolicy != "" {
		p.textField("imagePullPolicy", s.pullPolicy)
	}
	p.field("env")
	p.raw("[")
	for n, v := range s.agentEnv(id) {
		if n > 0 {
			p.raw(",")
		}
		p.raw("{")
		p.textField("name", v.Name)
		p.textField("value", literal(v.Value))
		p.raw("}")
	}
	p.raw("]")
	if s.agent.Mode == config.ModeSidecar {
		// A restartable init container starts before the application and lives
		// as long; the hook holds the application back until there is a session.
		p.raw(`,"restartPolicy":"Always","lifecycle":{"postStart":{"exec":{"command":["` + config.AgentPath + `","` + config.WaitCommand + `"]}}}`)
	}
	p.field("resources")
	p.resources(s)
	p.raw(`,"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"privileged":false,"readOnlyRootFilesystem":true`)
	p.field("runAsGroup")
	p.number(id.group)
	if id.user == 0 {
		p.raw(`,"runAsNonRoot":false`)
	} else {
		p.raw(`,"runAsNonRoot":true`)
	}
	p.field("runAsUser")
	p.number(id.user)
	p.raw(`,"seccompProfile":{"type":"RuntimeDefault"}},"terminationMessagePolicy":"FallbackToLogsOnError","volumeMounts":[{"name":"` +
		SessionVolume + `","mountPath":"` + sessionDir + `"},{"name":"` + IdentityVolume + `","mountPath":"` + identityDir +
		`","readOnly":true},{"name":"` + IdentityVolume + `","mountPath":"` + apiTokenDir + `","readOnly":true}]}`)
}

func (p *patch) resources(s *settings) {
	p.raw("{")
	for _, part := range []struct {
		name    string
		amounts profile.Amounts
	}{{fieldRequests, s.resources.Requests}, {fieldLimits, s.resources.Limits}} {
		if part.amounts == (profile.Amounts{}) {
			continue
		}
		p.field(part.name)
		p.raw("{")
		for _, amount := range part.amounts.List() {
			if amount.Quantity != "" {
				p.textField(amount.Resource, amount.Quantity)
			}
		}
		p.raw("}")
	}
	p.raw("}")
}

// sessionVolume writes the volume that the agent and the application share.
func (p *patch) sessionVolume() {
	p.raw(`{"name":"` + SessionVolume + `","emptyDir":{"medium":"Memory","sizeLimit":"` + sessionVolumeLimit + `"}}`)
}

// identityVolume writes the volume that only the agent mounts.
func (p *patch) identityVolume(s *settings) {
	p.raw(`{"name":"` + IdentityVolume + `","projected":{"sources":[{"serviceAccountToken":{"audience":`)
	p.text(s.audience)
	p.field("expirationSeconds")
	p.number(s.expiration)
	p.raw(`,"path":"` + identityFile + `"}}]}}`)
}
