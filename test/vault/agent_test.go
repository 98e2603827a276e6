package vault_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/product"
)

func (g *gateway) agentEnvironment(t *testing.T, dir, jwt string, more ...string) []string {
	t.Helper()
	identity := filepath.Join(dir, "identity")
	if err := os.WriteFile(identity, []byte(jwt), 0o600); err != nil {
		t.Fatal(err)
	}
	return append([]string{
		"GATEPASS_PROTOCOL=vault", "GATEPASS_GATEWAY_URL=" + g.URL(""), "GATEPASS_CA_BUNDLE=" + string(g.ca.PEM()),
		"GATEPASS_ROLE=web", "GATEPASS_IDENTITY_FILE=" + identity, "GATEPASS_TOKEN_FILE=" + filepath.Join(dir, "token"),
	}, more...)
}

func TestOurAgentKeepsASession(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	ns := pod(t, "web-1", "web")
	mount(t, g.admin(t), "kubernetes", "web", ns, map[string]any{"token_ttl": "10s", "token_max_ttl": "1h"})
	dir := t.TempDir()
	jwt := token(t, cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "web-1"})
	agent := must(commands.StartAgent(product.AgentOptions{Env: g.agentEnvironment(t, dir, jwt,
		"GATEPASS_MODE=sidecar", "GATEPASS_REVOKE_ON_EXIT=true", "GATEPASS_TERMINATION_MESSAGE_FILE="+filepath.Join(dir, "message"))}))(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("agent's log:\n%s", agent.Logs())
		}
		if err := agent.Kill(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "token")
	await.Until(t, "the agent writes a session", func() bool {
		written, err := os.ReadFile(file)
		return err == nil && len(written) > 0
	}, agent.Logs)
	session := string(must(os.ReadFile(file))(t))
	lookup := func() (int, map[string]any) {
		return g.request(t, http.MethodGet, "/v1/auth/token/lookup-self", nil, "X-Vault-Token", session)
	}
	await.Until(t, "the session outlives its first lease", func() bool {
		status, answer := lookup()
		if status != http.StatusOK {
			t.Fatalf("the session ended: %d %v", status, answer)
		}
		created, _ := answer["data"].(map[string]any)["creation_time"].(float64)
		return time.Since(time.Unix(int64(created), 0)) > 12*time.Second
	})
	if again := string(must(os.ReadFile(file))(t)); again != session {
		t.Error("the agent logged in again instead of renewing")
	}
	if err := agent.Terminate(); err != nil {
		t.Fatal(err)
	}
	if code := must(agent.ExitCode(t.Context()))(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if status, answer := lookup(); status != http.StatusForbidden {
		t.Errorf("the agent is gone, and its session is not: %d %v", status, answer)
	}
}

func TestOurAgentReplacesARevokedSession(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	ns := pod(t, "web-1", "web")
	mount(t, g.admin(t), "kubernetes", "web", ns, nil)
	dir := t.TempDir()
	jwt := token(t, cluster.TokenRequest{Namespace: ns, ServiceAccount: "web", Pod: "web-1"})
	agent := must(commands.StartAgent(product.AgentOptions{Env: g.agentEnvironment(t, dir, jwt,
		"GATEPASS_MODE=sidecar", "GATEPASS_CHECK_INTERVAL=10s", "GATEPASS_TERMINATION_MESSAGE_FILE="+filepath.Join(dir, "message"))}))(t)
	t.Cleanup(func() {
		if err := agent.Kill(); err != nil {
			t.Error(err)
		}
	})
	holds := func(not string) string {
		var written []byte
		await.Until(t, "the agent writes a session", func() bool {
			written, _ = os.ReadFile(filepath.Join(dir, "token"))
			return len(written) > 0 && string(written) != not
		}, agent.Logs)
		return string(written)
	}
	first := holds("")
	if status, answer := g.request(t, http.MethodPut, "/v1/auth/token/revoke-self", nil, "X-Vault-Token", first); status != http.StatusNoContent {
		t.Fatalf("%d %v", status, answer)
	}
	second := holds(first)
	if status, answer := g.request(t, http.MethodGet, "/v1/auth/token/lookup-self", nil, "X-Vault-Token", second); status != http.StatusOK {
		t.Errorf("%d %v", status, answer)
	}
	if log := agent.Logs(); !strings.Contains(log, "the server has ended the session; logging in again") || strings.Contains(log, first) {
		t.Errorf("the agent's log is\n%s", log)
	}
}

func TestOurAgentIsTold(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	ns, other := pod(t, "web-1", "web"), pod(t, "web-1", "web")
	mount(t, g.admin(t), "kubernetes", "web", ns, nil)
	jwt := token(t, cluster.TokenRequest{Namespace: other, ServiceAccount: "web", Pod: "web-1"})
	got := must(commands.RunAgent(t.Context(), product.AgentOptions{Env: g.agentEnvironment(t, t.TempDir(), jwt, "GATEPASS_TIMEOUT=20s")}))(t)
	if got.ExitCode == 0 || !strings.Contains(got.TerminationMessage, "namespace not authorized") {
		t.Errorf("exit code %d: %s", got.ExitCode, got.TerminationMessage)
	}
}
