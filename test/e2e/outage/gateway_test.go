//go:build e2e

package outage_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/machine"
	"github.com/gatepass/gatepass/test/stand"
)

// slack is what ending may take beyond the timeout: a container's times are
// whole seconds, and the machine is small.
const slack = 3 * time.Second

// timeout is the rows' unless they name another. It is the agents' whole time.
const timeout = 10 * time.Second

// Exit codes of the agent, as in docs/annotations.md.
const (
	exitUnreachable = 3
	exitUntrusted   = 4
	exitFailing     = 8
)

// row is one trouble, and how a pod that is created during it ends.
type row struct {
	name, profile string
	timeout       time.Duration
	mode          string
	code          int32
	// cause is in the pod's description and in the agent's log.
	cause string
}

// Servers of the test's own stand in for gateways and API servers that are in
// trouble; the pods, their agents and the gateway in between are real.
func TestAPodThatCanNotLogInSaysWhy(t *testing.T) {
	right, other := stand.Authority(t, "right"), stand.Authority(t, "other")
	expired, err := right.ServerUntil(time.Now().Add(-10*time.Minute), machine.NodeAddress)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Server(machine.NodeAddress)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := right.Server("gateway.example.com")
	if err != nil {
		t.Fatal(err)
	}
	importAgents(t)
	down, mute, quiet := stand.Handle(t, stand.Unavailable), stand.Silent(t), stand.Handle(t, stand.Hang)
	old, strange, misnamed := stand.Serve(t, right.PEM(), expired, stand.Unavailable), stand.Serve(t, right.PEM(), foreign, stand.Unavailable), stand.Serve(t, right.PEM(), elsewhere, stand.Unavailable)
	hanging, broken, throttled := stand.Handle(t, stand.Hang), stand.Handle(t, stand.Unavailable), stand.Handle(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	})
	healing := stand.Handle(t, healsAfter(3*time.Second, passOn(t)))
	install(t, map[string]profile{
		"down": {gateway: &down}, "mute": {gateway: &mute}, "quiet": {gateway: &quiet},
		"old": {gateway: &old}, "strange": {gateway: &strange}, "misnamed": {gateway: &misnamed}, "healing": {gateway: &healing},
		"hanging": {apiServer: &hanging}, "broken": {apiServer: &broken}, "throttled": {apiServer: &throttled},
		"node-ahead": {image: agentAhead, accessID: "p-shortshort12k1", authConfig: "short"}, "node-behind": {image: agentBehind},
	})
	ns := shared.Namespace(t, nil)
	for _, row := range []row{
		{name: "the gateway answers 503", profile: "down", code: exitFailing, cause: "the gateway is overloaded or failing (503 Service Unavailable)"},
		{name: "the gateway answers 503 to a sidecar", profile: "down", mode: "sidecar", code: exitFailing, cause: "the gateway is overloaded or failing (503 Service Unavailable)"},
		{name: "the gateway accepts connections and is silent", profile: "mute", code: exitUnreachable, cause: "no answer in time"},
		{name: "the gateway takes requests and does not answer", profile: "quiet", code: exitUnreachable, cause: "no answer in time"},
		{name: "the gateway's certificate expired ten minutes ago", profile: "old", code: exitUntrusted, cause: "renew the certificate (or correct this node's clock)"},
		{name: "the gateway's certificate is another authority's", profile: "strange", code: exitUntrusted, cause: `was issued by "CN=other", which is not among the trusted authorities`},
		{name: "the gateway's certificate is for another name", profile: "misnamed", code: exitUntrusted, cause: "is not valid for " + machine.NodeAddress + " but for gateway.example.com"},
		// Longer, so that the agent does not give up before the gateway does.
		{name: "the API server hangs over token reviews", profile: "hanging", timeout: 30 * time.Second, code: exitFailing, cause: "the gateway can't reach the Kubernetes API server, or gets no answer from it"},
		{name: "the API server answers 503 to token reviews", profile: "broken", code: exitFailing, cause: "the Kubernetes API server can't review it at the moment"},
		{name: "the API server answers 429 to token reviews", profile: "throttled", code: exitFailing, cause: "the Kubernetes API server can't review it at the moment"},
		{name: "the node's clock is ten minutes behind", profile: "node-behind", code: exitUntrusted, cause: "correct the clock of this node or of the issuer"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.check(t, ns)
		})
	}
	t.Run("the gateway answers 503 for three seconds", func(t *testing.T) {
		t.Parallel()
		pod := shared.Create(t, bed.Application(ns, "heals", bed.Annotate("profile", "healing"), bed.Annotate("timeout", "30s")))
		shared.Running(t, ns, pod.Name)
		bed.CheckSession(t, pod, shared.Reported(t, ns, pod.Name, "app"))
		if log := shared.Logs(t, ns, pod.Name, bed.AgentContainer); !strings.Contains(log, "login failed and will be tried again") {
			t.Errorf("nothing failed: %s", log)
		}
	})
	t.Run("the node's clock is ten minutes ahead, and sessions seem to have ended", func(t *testing.T) {
		t.Parallel()
		checkSessionsFromThePast(t, ns)
	})
}

// healsAfter answers 503 for a while, from the first request on.
func healsAfter(d time.Duration, next http.HandlerFunc) http.HandlerFunc {
	var began atomic.Pointer[time.Time]
	return func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		began.CompareAndSwap(nil, &now)
		if now.Sub(*began.Load()) < d {
			stand.Unavailable(w, r)
			return
		}
		next(w, r)
	}
}

// check creates a pod and looks at how its agent ends.
func (r row) check(t *testing.T, ns string) {
	t.Helper()
	if r.timeout == 0 {
		r.timeout = timeout
	}
	if r.mode == "" {
		r.mode = "init"
	}
	pod := shared.Create(t, bed.Application(ns, strings.Join([]string{"row", r.profile, r.mode}, "-"),
		bed.Annotate("profile", r.profile), bed.Annotate("timeout", r.timeout.String()), bed.Annotate("mode", r.mode),
		func(pod *corev1.Pod) { pod.Spec.RestartPolicy = corev1.RestartPolicyNever }))
	ended := shared.AgentEnd(t, ns, pod.Name)
	took := ended.FinishedAt.Sub(ended.StartedAt.Time)
	t.Logf("exit code %d after %s: %s", ended.ExitCode, took, strings.TrimSpace(ended.Message))
	if ended.ExitCode != r.code {
		t.Errorf("exit code %d, want %d", ended.ExitCode, r.code)
	}
	if took > r.timeout+slack {
		t.Errorf("it took %s, with a timeout of %s", took, r.timeout)
	}
	checkCause(t, ns, pod.Name, r.cause)
}

// checkCause looks where people look.
func checkCause(t *testing.T, ns, name, cause string) {
	t.Helper()
	described, _, err := shared.Kubectl(t.Context(), "describe", "pod", "-n", ns, name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(described, cause) {
		t.Errorf("kubectl describe does not say %q:\n%s", cause, described)
	}
	shared.AgentSays(t, ns, name, cause)
}

// starts waits until pods run with sessions of their own, and returns how long
// the last took.
func starts(t *testing.T, pods []*corev1.Pod) time.Duration {
	t.Helper()
	began := time.Now()
	for _, pod := range pods {
		shared.Running(t, pod.Namespace, pod.Name)
		bed.CheckSession(t, pod, shared.Reported(t, pod.Namespace, pod.Name, "app"))
	}
	return time.Since(began).Round(100 * time.Millisecond)
}

func gateways(t *testing.T) []corev1.Pod {
	t.Helper()
	pods, err := shared.Replicas(t.Context(), bed.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

func TestPodsStartWhenKilledGatewaysAreBack(t *testing.T) {
	ns := shared.Namespace(t, nil)
	old := gateways(t)
	now := int64(0)
	var pods []*corev1.Pod
	for i, gateway := range old {
		if err := shared.Client.CoreV1().Pods(bed.System).Delete(t.Context(), gateway.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{"init", "sidecar"} {
			pods = append(pods, shared.Create(t, bed.Application(ns, strings.Join([]string{"waits", mode, string('a' + rune(i))}, "-"), bed.Annotate("mode", mode))))
		}
	}
	t.Logf("%d pods that were created while all gateways were killed run after %s", len(pods), starts(t, pods))
	for _, pod := range pods {
		if got := shared.Get(t, ns, pod.Name); got.Status.InitContainerStatuses[0].RestartCount > 0 {
			t.Errorf("the agent of pod %s did not wait for the gateway but failed", pod.Name)
		}
	}
	awaitReplicas(t, bed.Gateway, old[0].Name, old[1].Name)
}

func TestPodsStartWhenTheGatewayIsScaledUpAgain(t *testing.T) {
	ns := shared.Namespace(t, nil)
	scale(t, "0")
	t.Cleanup(func() { scale(t, "2") })
	shared.Await(t, "no gateway is left", func(ctx context.Context) error {
		pods, err := shared.Client.CoreV1().Pods(bed.System).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=gateway"})
		if err == nil && len(pods.Items) > 0 {
			err = errors.New("some are")
		}
		return err
	})
	pod := shared.Create(t, bed.Application(ns, "waits", bed.Annotate("timeout", "5s")))
	ended := shared.AgentEnd(t, ns, pod.Name)
	t.Logf("exit code %d after %s: %s", ended.ExitCode, ended.FinishedAt.Sub(ended.StartedAt.Time), strings.TrimSpace(ended.Message))
	if ended.ExitCode != exitUnreachable {
		t.Errorf("exit code %d, want %d", ended.ExitCode, exitUnreachable)
	}
	checkCause(t, ns, pod.Name, "connection refused; is the gateway running")
	scale(t, "2")
	awaitReplicas(t, bed.Gateway)
	t.Logf("the pod runs %s after the gateway was ready", starts(t, []*corev1.Pod{pod}))
}

func scale(t *testing.T, replicas string) {
	t.Helper()
	if _, _, err := shared.Kubectl(context.Background(), "scale", "-n", bed.System, "deployment/"+bed.Gateway.Deployment(), "--replicas="+replicas); err != nil {
		t.Error(err)
	}
}

// The gateway loses its right to review tokens.
func TestPodsStartWhenTheGatewayMayReviewTokensAgain(t *testing.T) {
	ns := shared.Namespace(t, nil)
	bindings := shared.Client.RbacV1().ClusterRoleBindings()
	binding, err := bindings.Get(t.Context(), "gatepass-gateway", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := bindings.Delete(t.Context(), binding.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	binding.ResourceVersion, binding.UID = "", ""
	restore := func() error {
		_, err := bindings.Create(context.Background(), binding, metav1.CreateOptions{})
		return err
	}
	failed := false
	t.Cleanup(func() {
		if failed {
			_ = restore()
		}
	})
	failed = true
	waiting := shared.Create(t, bed.Application(ns, "waits"))
	const public = "the gateway is not allowed to review tokens; its administrator finds the reason in its log"
	row{profile: "default", code: exitFailing, cause: public}.check(t, ns)
	logs := &strings.Builder{}
	for _, pod := range gateways(t) {
		logs.WriteString(shared.Logs(t, bed.System, pod.Name, string(bed.Gateway)))
	}
	if !strings.Contains(logs.String(), "reviewer-forbidden") {
		t.Errorf("the gateways' logs do not say why: %s", logs)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	failed = false
	t.Logf("a pod that waited runs %s after the right was given back", starts(t, []*corev1.Pod{waiting}))
}
