package injector

import (
	"slices"
	"strings"
	"testing"
)

// Names that people wrote, and what they are told.
func TestUnknownKeysAreToldTheRightOne(t *testing.T) {
	known := New(nil).names
	for _, c := range []struct{ name, want string }{
		// Vault's names under our prefix.
		{"agent-inject", "inject"}, {"agent-inject-containers", "containers"}, {"agent-requests-mem", "agent-requests-memory"},
		{"agent-limits-mem", "agent-limits-memory"}, {"agent-limits-ephemeral", "agent-limits-ephemeral-storage"},
		{"agent-requests-ephemeral", "agent-requests-ephemeral-storage"}, {"agent-pre-populate-only", "mode: init"},
		{"secret-volume-path", "mount-path"}, {"namespace", "auth-namespace"}, {"agent-revoke-on-shutdown", "revoke-on-exit"},
		{"client-timeout", "timeout"}, {"agent-inject-perms-db", "token-mode"},
		// Akeyless' and Azure's.
		{"enabled", "inject"}, {"side_car_enabled", "mode: sidecar"}, {"agent_limits_mem", "agent-limits-memory"},
		{"use", "inject"}, {"skip-containers", "exclude-containers"}, {"service-account-token-expiration", "token-expiration-seconds"},
		// The same meaning in other words.
		{"token-ttl", "token-expiration-seconds"}, {"token-expiration", "token-expiration-seconds"}, {"ttl", "token-expiration-seconds"},
		{"expiration-seconds", "token-expiration-seconds"}, {"token-lifetime-seconds", "token-expiration-seconds"},
		{"init-containers", "containers"}, {"container", "containers"}, {"include-containers", "containers"}, {"inject-containers", "containers"},
		{"ignore-containers", "exclude-containers"}, {"excluded-containers", "exclude-containers"}, {"containers-exclude", "exclude-containers"},
		{"exclude-container", "exclude-containers"}, {"no-containers", "exclude-containers"},
		{"memory-limit", "agent-limits-memory"}, {"cpu-request", "agent-requests-cpu"}, {"agent-max-memory", "agent-limits-memory"},
		{"agent-requests-storage", "agent-requests-ephemeral-storage"}, {"memory", "agent-requests-memory or gatepass.dev/agent-limits-memory"},
		{"run-as-user", "agent-run-as-user"}, {"runAsGroup", "agent-run-as-group"}, {"uid", "agent-run-as-user"}, {"agent-gid", "agent-run-as-group"},
		{"image", "agent-image"}, {"mount-dir", "mount-path"}, {"mountPath", "mount-path"}, {"mountpath", "mount-path"}, {"volume-path", "mount-path"},
		{"loglevel", "log-level"}, {"log", "log-level"}, {"log_level", "log-level"}, {"token-permissions", "token-mode"}, {"token-filename", "token-file"},
		{"accessID", "access-id"}, {"authConfig", "auth-config"}, {"k8s-auth-config-name", "auth-config"}, {"vault-role", "role"}, {"aud", "audience"},
		{"revoke-on-shutdown", "revoke-on-exit"}, {"revoke", "revoke-on-exit"}, {"timeout-seconds", "timeout"}, {"profiles", "profile"},
		// Misspelt.
		{"injekt", "inject"}, {"Inject", "inject"}, {"inejct", "inject"}, {"injection", "inject"}, {"mdoe", "mode"}, {"audiance", "audience"},
		{"contain" + "res", "containers"}, {"agent-limts-cpu", "agent-limits-cpu"}, {"tokenfile", "token-file"}, {"proflie", "profile"},
		{"gatepass-inject", "inject"},
		// What says no.
		{"skip", `inject: "false"`}, {"disable-injection", `inject: "false"`}, {"disabled", `inject: "false"`}, {"sidecar", "mode: sidecar"},
	} {
		if got, want := hint(c.name, known), "did you mean gatepass.dev/"+c.want+"?"; got != want {
			t.Errorf("%s: want %q, got %q", c.name, want, got)
		}
	}
}

func TestUnknownKeysThatResembleNoneGetNoHint(t *testing.T) {
	known := New(nil).names
	for _, name := range []string{"", "-", "x", "access-key", "fs-group", "run-as-root", "zzzzzzzzzzzzzzzz", "cluster", "token-reviewer", strings.Repeat("a-", 200)} {
		if got := hint(name, known); got != "" {
			t.Errorf("%q: want no hint, got %q", name, got)
		}
	}
	for name, want := range map[string]string{
		"agent-inject-secret-db": noteSecrets, "inject_file": noteSecrets, "tls-skip-verify": noteVerified, "service": noteProfile, "agent-init-first": noteRule,
	} {
		if got := hint(name, known); got != want {
			t.Errorf("%q: want %q, got %q", name, want, got)
		}
	}
}

// One word turns a key into its opposite; the hint must turn with it.
func TestHintsNeverSayTheOpposite(t *testing.T) {
	known := New(nil).names
	for _, key := range known {
		for _, c := range []struct{ old, new, mustHave, mustLack string }{
			{"requests", "request", "requests", "limits"}, {"limits", "limit", "limits", "requests"},
			{"cpu", "cpus", "cpu", "memory"}, {"memory", "mem", "memory", "cpu"}, {"user", "uid", "user", "group"}, {"group", "gid", "group", "user"},
			{"exclude", "skip", "exclude", "\x00"}, {"exclude", "without", "exclude", "\x00"},
		} {
			if !slices.Contains(strings.Split(key, "-"), c.old) {
				continue
			}
			name := strings.Replace(key, c.old, c.new, 1)
			if got := hint(name, known); !strings.Contains(got, c.mustHave) || strings.Contains(got, c.mustLack) {
				t.Errorf("%s: got %q", name, got)
			}
		}
		for _, no := range []string{"skip-", "ignore-", "no-", "exclude-", "except-", "disable-"} {
			got := hint(no+key, known)
			if strings.Contains(got, Prefix) && !strings.Contains(got, "exclude") && !strings.Contains(got, `"false"`) {
				t.Errorf("%s: want nothing that does what is not wanted, got %q", no+key, got)
			}
		}
	}
}

func TestPeersKeysLeadToKeysOfOurs(t *testing.T) {
	known := New(nil).names
	for _, peer := range Peers() {
		for _, key := range peer.Keys {
			for _, ours := range key.Ours {
				if name, _, _ := strings.Cut(ours, ":"); !slices.Contains(known, name) {
					t.Errorf("%s%s leads to %s, which is no key", peer.Prefix, key.Theirs, ours)
				}
			}
			if (len(key.Ours) == 0) == (key.Note == "") {
				t.Errorf("%s%s has neither or both of a key and a note", peer.Prefix, key.Theirs)
			}
		}
	}
}
