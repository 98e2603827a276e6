package bed

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatepass/gatepass/test/bed/app/report"
)

// CheckSession fails the test unless a report has a session that the gateway
// issued to exactly this pod, and nothing that it should not have.
func CheckSession(t testing.TB, pod *corev1.Pod, r *report.Report) {
	t.Helper()
	if r.Session == "" {
		t.Errorf("uid %d has no session in %q: %s", r.UID, r.TokenFile, r.Problem)
		return
	}
	claims, err := report.Claims(r.Session)
	if err != nil {
		t.Errorf("the session is no token: %v", err)
		return
	}
	sub, ok := claims["sub_claims"].(map[string]any)
	if !ok {
		t.Fatalf("the session has no sub_claims: %v", claims)
	}
	for name, want := range map[string]string{"pod_name": pod.Name, "pod_uid": string(pod.UID), "namespace": pod.Namespace} {
		if got := fmt.Sprint(sub[name]); got != "["+want+"]" {
			t.Errorf("claim %s is %s, want [%s]", name, got, want)
		}
	}
	CheckExposure(t, r)
}

// CheckExposure fails the test if a container other than the agent sees the
// agent's token.
func CheckExposure(t testing.TB, r *report.Report) {
	t.Helper()
	for _, f := range r.Files {
		if !f.Session && slices.Contains(f.Audience, "gatepass") {
			t.Errorf("uid %d reads the agent's token at %s", r.UID, f.Path)
		}
	}
}
