package injector

import "strings"

// Peer is another injector, whose annotations people bring along.
type Peer struct {
	// Name and Prefix are the product's and its keys'.
	Name, Prefix string
	Keys         []PeerKey
}

// PeerKey is one of a peer's annotations.
type PeerKey struct {
	// Theirs is the key without the peer's prefix. A dash or underscore at its
	// end stands for any name after it.
	Theirs string
	// Ours are our keys for the same purpose, with a value where one is meant.
	Ours []string
	// Note says what to do where Ours is empty.
	Note string
}

// What becomes of settings that no pod has here.
const (
	noteSecrets  = "Gatepass gives the pod a session, and the application reads its secrets with that"
	noteProfile  = "that is the administrator's to set, in the profile; remove it"
	noteVerified = "the gateway's certificate is always verified; remove it, and have the administrator set the profile's CA"
	noteRule     = "Gatepass does that by itself; remove it"
)

// Peers lists the keys of other injectors, as their documentation has them:
// hashicorp/vault-k8s (agent-inject/agent/annotations.go), Akeyless (its
// injector's list of annotations), Azure (azure-workload-identity's labels and
// annotations).
func Peers() []Peer {
	return []Peer{
		{"Vault Agent Injector", "vault.hashicorp.com/", vaultKeys()},
		{"Akeyless", "akeyless/", akeylessKeys()},
		{"Azure workload identity", "azure.workload.identity/", azureKeys()},
	}
}

func vaultKeys() []PeerKey {
	return []PeerKey{
		{Theirs: "agent-inject", Ours: []string{"inject"}},
		{Theirs: "agent-inject-status", Ours: []string{"status"}},
		{Theirs: "agent-inject-containers", Ours: []string{"containers"}},
		{Theirs: "agent-inject-token", Ours: []string{"inject"}},
		{Theirs: "agent-inject-secret-", Note: noteSecrets},
		{Theirs: "agent-inject-file-", Note: noteSecrets},
		{Theirs: "agent-inject-template-", Note: noteSecrets},
		{Theirs: "agent-inject-perms-", Ours: []string{"token-mode"}},
		{Theirs: "agent-inject-command-", Note: noteSecrets},
		{Theirs: "agent-image", Ours: []string{"agent-image"}},
		{Theirs: "agent-init-first", Note: noteRule},
		{Theirs: "agent-pre-populate", Ours: []string{"mode: init"}},
		{Theirs: "agent-pre-populate-only", Ours: []string{"mode: init"}},
		{Theirs: "agent-limits-cpu", Ours: []string{"agent-limits-cpu"}},
		{Theirs: "agent-limits-mem", Ours: []string{"agent-limits-memory"}},
		{Theirs: "agent-limits-ephemeral", Ours: []string{"agent-limits-ephemeral-storage"}},
		{Theirs: "agent-requests-cpu", Ours: []string{"agent-requests-cpu"}},
		{Theirs: "agent-requests-mem", Ours: []string{"agent-requests-memory"}},
		{Theirs: "agent-requests-ephemeral", Ours: []string{"agent-requests-ephemeral-storage"}},
		{Theirs: "agent-revoke-on-shutdown", Ours: []string{"revoke-on-exit"}},
		{Theirs: "agent-run-as-user", Ours: []string{"agent-run-as-user"}},
		{Theirs: "agent-run-as-group", Ours: []string{"agent-run-as-group"}},
		{Theirs: "agent-run-as-same-user", Note: noteRule},
		{Theirs: "agent-set-security-context", Note: noteRule},
		{Theirs: "agent-service-account-token-volume-name", Note: noteRule},
		{Theirs: "auth-path", Ours: []string{"auth-path"}},
		{Theirs: "auth-type", Note: noteRule},
		{Theirs: "role", Ours: []string{"role"}},
		{Theirs: "namespace", Ours: []string{"auth-namespace"}},
		{Theirs: "log-level", Ours: []string{"log-level"}},
		{Theirs: "secret-volume-path", Ours: []string{"mount-path"}},
		{Theirs: "service", Note: noteProfile},
		{Theirs: "proxy-address", Note: noteProfile},
		{Theirs: "ca-cert", Note: noteProfile},
		{Theirs: "tls-secret", Note: noteProfile},
		{Theirs: "tls-server-name", Note: noteProfile},
		{Theirs: "tls-skip-verify", Note: noteVerified},
		{Theirs: "client-timeout", Ours: []string{"timeout"}},
	}
}

func akeylessKeys() []PeerKey {
	return []PeerKey{
		{Theirs: "enabled", Ours: []string{"inject"}},
		{Theirs: "side_car_enabled", Ours: []string{"mode: sidecar"}},
		{Theirs: "inject_file", Note: noteSecrets},
		{Theirs: "inject_folder", Note: noteSecrets},
		{Theirs: "side_car_refresh_interval", Note: noteRule},
		{Theirs: "crash_on_error", Note: noteRule},
		{Theirs: "agent_limits_cpu", Ours: []string{"agent-limits-cpu"}},
		{Theirs: "agent_requests_cpu", Ours: []string{"agent-requests-cpu"}},
		{Theirs: "agent_limits_mem", Ours: []string{"agent-limits-memory"}},
		{Theirs: "agent_requests_mem", Ours: []string{"agent-requests-memory"}},
	}
}

func azureKeys() []PeerKey {
	return []PeerKey{
		{Theirs: "use", Ours: []string{"inject"}},
		{Theirs: "service-account-token-expiration", Ours: []string{"token-expiration-seconds"}},
		{Theirs: "skip-containers", Ours: []string{"exclude-containers"}},
		{Theirs: "client-id", Ours: []string{"access-id"}},
		{Theirs: "tenant-id", Note: noteProfile},
		{Theirs: "inject-proxy-sidecar", Note: noteRule},
		{Theirs: "proxy-sidecar-port", Note: noteRule},
	}
}

// peerKey finds the peers' key with this name, whose words are joined by
// dashes.
func peerKey(plain string) (PeerKey, bool) {
	for _, peer := range Peers() {
		for _, key := range peer.Keys {
			theirs := strings.ReplaceAll(key.Theirs, "_", "-")
			if plain == strings.TrimSuffix(theirs, "-") || strings.HasSuffix(theirs, "-") && strings.HasPrefix(plain, theirs) {
				return key, true
			}
		}
	}
	return PeerKey{}, false
}
