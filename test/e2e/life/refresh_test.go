//go:build e2e

package life_test

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gatepass/gatepass/test/bed"
)

// life is how long sessions of profile short live.
const life = 30 * time.Second

func TestAnApplicationThatReadsWithoutAPauseSeesNothingButValidSessions(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	pod := shared.Create(t, bed.Application(ns, "app", bed.Sidecar, short, once, runs("watch", "60s"), func(pod *corev1.Pod) {
		// The rest of the machine is for others.
		pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("300m")}
	}))
	bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
	pod = shared.Succeeded(t, ns, pod.Name)
	seen := watched(t, ns, pod.Name)
	// Two thirds of half a minute, give or take a tenth: after 18 to 22 s.
	if n := len(seen.Tokens); n < 3 || n > 4 {
		t.Errorf("%d sessions in a minute, want 3 or 4", n)
	}
	checkSignatures(t, seen.Tokens)
	for i := 1; i < len(seen.Tokens); i++ {
		gap := ends(t, seen.Tokens[i]).Sub(ends(t, seen.Tokens[i-1]))
		if gap < life*3/5-time.Second || gap > life*11/15+2*time.Second {
			t.Errorf("session %d came %s after the one before", i, gap)
		}
	}
}

// checkSignatures fails the test unless the gateway's published keys verify
// all sessions.
func checkSignatures(t *testing.T, tokens []string) {
	t.Helper()
	text, _, err := shared.Kubectl(t.Context(), "get", "--raw",
		"/api/v1/namespaces/"+bed.System+"/services/https:gatepass-gateway:8000/proxy/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
		if err == nil {
			_, err = parsed.Verify(&keys)
		}
		if err != nil {
			t.Errorf("a session of %d bytes: %v", len(token), err)
		}
	}
}

// A node that was suspended can't be had here. An agent that was frozen is as
// late by the wall clock when it goes on.
func TestAnAgentThatWasFrozenForLongerThanItsSessionRefreshesAtOnce(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar, short))
	pod := shared.Running(t, ns, "app")
	pid := agentPID(t, pod)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(life + 10*time.Second)
	last := session(t, pod)
	if late := time.Since(ends(t, last)); late < 0 {
		t.Errorf("the session of a frozen agent lives for another %s", -late)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	now := renewed(t, pod, last)
	took := time.Since(began)
	if took > 5*time.Second {
		t.Errorf("a session came %s after the agent went on", took)
	}
	t.Logf("a session came %s after the agent went on", took)
	if left := time.Until(ends(t, now)); left < life/2 {
		t.Errorf("the new session lives for %s", left)
	}
	if n := agent(shared.Get(t, ns, "app")).RestartCount; n != 0 {
		t.Errorf("the agent was restarted %d times", n)
	}
}

func TestASessionOutlivesTheCrashOfItsAgent(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar, once, runs("watch", "20s"), func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("200m")}
	}))
	pod := shared.Running(t, ns, "app")
	first := session(t, pod)
	if err := syscall.Kill(agentPID(t, pod), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	renewed(t, pod, first)
	pod = shared.WaitFor(t, ns, "app", "has its agent again", func(pod *corev1.Pod) bool {
		return agent(pod).RestartCount == 1
	})
	if end := agent(pod).LastTerminationState.Terminated; end == nil || end.ExitCode != 128+int32(syscall.SIGKILL) {
		t.Errorf("the first agent's end is %+v", end)
	}
	pod = shared.Succeeded(t, ns, "app")
	if n := len(watched(t, ns, "app").Tokens); n != 2 {
		t.Errorf("%d sessions with two agents", n)
	}
	if status(pod, "app").RestartCount != 0 || agent(pod).State.Terminated.ExitCode != 0 {
		t.Errorf("it ended as %s", bed.Describe(pod))
	}
}
