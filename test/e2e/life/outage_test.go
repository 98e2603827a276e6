//go:build e2e

package life_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
)

// The gateway is away for longer than a session lives.
func TestAnOutageLongerThanASession(t *testing.T) {
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar, short))
	pod := shared.Running(t, ns, "app")
	if text := metrics(t, ns, "app"); !strings.Contains(text, "gatepass_agent_refresh_failing 0\n") {
		t.Errorf("before the outage:\n%s", text)
	}

	t.Cleanup(func() { scaleGateway(context.Background(), t, 2) })
	scaleGateway(t.Context(), t, 0)
	began := time.Now()
	shared.AgentSays(t, ns, pod.Name, "the session can't be refreshed; the last one stays, and it is tried on and on")
	last := session(t, pod)
	<-time.After(time.Until(began.Add(life + 5*time.Second)))
	shared.AgentSays(t, ns, pod.Name, "the session has expired, and there is no new one yet")
	if late := time.Since(ends(t, last)); late < 0 || late > 35*time.Second { // it looks once in half a minute
		t.Errorf("the agent said that the session has expired %s after its end", late)
	}
	if now := session(t, pod); now != last {
		t.Error("the last session did not stay")
	}
	text := metrics(t, ns, "app")
	for _, want := range []string{"gatepass_agent_refresh_failing 1\n", fmt.Sprintf("gatepass_agent_session_expiry_timestamp_seconds %d\n", ends(t, last).Unix())} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %q:\n%s", want, text)
		}
	}
	outage := time.Since(began)

	scaleGateway(t.Context(), t, 2)
	back := time.Now()
	renewed(t, pod, last)
	took := time.Since(back)
	// A minute at most between two tries, and the time that one takes.
	if took > 75*time.Second {
		t.Errorf("a session came %s after the gateway was back", took)
	}
	log := shared.AgentSays(t, ns, pod.Name, "the session is refreshed again")
	t.Logf("after an outage of %s a session came %s after the gateway was back; the agent's log:\n%s", outage, took, log)
	for _, line := range []string{"can't be refreshed", "has expired", "refreshed again"} {
		if n := strings.Count(log, line); n != 1 {
			t.Errorf("%q is %d times in the log", line, n)
		}
	}
	if text := metrics(t, ns, "app"); !strings.Contains(text, "gatepass_agent_refresh_failing 0\n") || strings.Contains(text, "gatepass_agent_refresh_failures_total 0\n") {
		t.Errorf("after the outage:\n%s", text)
	}
	if n := agent(shared.Get(t, ns, "app")).RestartCount; n != 0 {
		t.Errorf("the agent was restarted %d times", n)
	}
}

// metrics is what a pod's agent tells whoever asks.
func metrics(t *testing.T, ns, pod string) string {
	t.Helper()
	text, _, err := shared.Kubectl(t.Context(), "get", "--raw", "/api/v1/namespaces/"+ns+"/pods/"+pod+":9465/proxy/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// scaleGateway waits until the gateway runs, or does not.
func scaleGateway(ctx context.Context, t *testing.T, replicas int) {
	t.Helper()
	const name = "deployment/gatepass-gateway"
	if _, _, err := shared.Kubectl(ctx, "scale", "-n", bed.System, name, fmt.Sprintf("--replicas=%d", replicas)); err != nil {
		t.Fatal(err)
	}
	if replicas > 0 {
		if err := shared.RolledOut(ctx, bed.System, "gatepass-gateway"); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := shared.Eventually(ctx, "the gateway is gone", func(ctx context.Context) error {
		left, err := shared.Client.CoreV1().Pods(bed.System).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=gateway"})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("%d pods are left", len(left.Items))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
