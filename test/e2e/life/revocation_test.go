//go:build e2e

package life_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/bed"
)

func TestARevokedSessionIsReplacedWithinAMinute(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar))
	pod := shared.Running(t, ns, "app")
	first := session(t, pod)
	revoke(t, first)
	began := time.Now()
	now := renewed(t, pod, first)
	took := time.Since(began)
	t.Logf("another session came after %s", took)
	if took > time.Minute || time.Until(ends(t, now)) < time.Minute {
		t.Errorf("a session until %s came after %s", ends(t, now), took)
	}
	shared.AgentSays(t, ns, "app", `"msg":"the server has ended the session; logging in again","cause":"the session was revoked"`)
	shared.AgentSays(t, ns, "app", `"msg":"a new session replaces the revoked one"`)
	if n := agent(shared.Get(t, ns, "app")).RestartCount; n != 0 {
		t.Errorf("the agent was restarted %d times", n)
	}
}

// revoke ends a session at all gateways, each of which keeps what it revoked to
// itself here.
func revoke(t *testing.T, token string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	gateways, err := shared.Replicas(t.Context(), bed.Gateway)
	if err != nil || len(gateways) == 0 {
		t.Fatalf("%d gateways, %v", len(gateways), err)
	}
	for _, pod := range gateways {
		path := "/api/v1/namespaces/" + bed.System + "/pods/https:" + pod.Name + ":8000/proxy/revoke-creds"
		if _, _, err := shared.KubectlInput(t.Context(), string(body), "create", "--raw", path, "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
}
