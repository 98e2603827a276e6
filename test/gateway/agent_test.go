package gateway_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/product"
)

func TestASidecarReplacesARevokedSession(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod(t, ns, "mypod1", "web")
	var c configFile
	accessID, authConfig := c.add(kubernetes("boundNamespaces: ["+ns+"]"), gatewayReviewer)
	g := startGateway(t, c.String(), product.GatewayOptions{Kubeconfig: kubeconfig(t, delegator(t, ns, "gateway"))})
	dir := t.TempDir()
	agent := must(commands.StartAgent(product.AgentOptions{Env: []string{
		"GATEPASS_MODE=sidecar", "GATEPASS_GATEWAY_URL=" + g.URL(""), "GATEPASS_CA_BUNDLE=" + g.bundle,
		"GATEPASS_ACCESS_ID=" + accessID, "GATEPASS_AUTH_CONFIG=" + authConfig,
		"GATEPASS_IDENTITY_FILE=" + file(t, "identity", podToken(t, ns, "mypod1", "web")), "GATEPASS_TOKEN_FILE=" + filepath.Join(dir, "token"),
		"GATEPASS_CHECK_INTERVAL=10s", "GATEPASS_TERMINATION_MESSAGE_FILE=" + filepath.Join(dir, "message"),
	}}))(t)
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
	if got := g.post(t, "/revoke-creds", map[string]string{"token": first}); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	second := holds(first)
	if got := g.post(t, "/validate-token", map[string]string{"token": second}); !got.IsValid {
		t.Errorf("%+v", got)
	}
	log := agent.Logs()
	for _, want := range []string{`"msg":"the server has ended the session; logging in again","cause":"the session was revoked"`, `"msg":"a new session replaces the revoked one"`} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not in the agent's log\n%s", want, log)
		}
	}
	if strings.Contains(log, first) {
		t.Errorf("a session is in the agent's log\n%s", log)
	}
}
