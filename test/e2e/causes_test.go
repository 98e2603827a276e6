//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/machine"
)

// What two profiles of the test bed lead to, at the node's own address.
const (
	silentPort  = "8002"
	droppedPort = "8003"
)

const (
	// timeout is what the pods that can't log in ask for.
	timeout = 5 * time.Second
	// leeway is for a container's start and end on a busy machine, and for times
	// that the kubelet tells in whole seconds.
	leeway = 3 * time.Second
)

// A pod that can't log in tells its author, within its deadline and where
// authors look, why, and what to do.
func TestPodsThatCanNotLogInSayWhy(t *testing.T) {
	t.Parallel()
	listenSilently(t)
	dropPackets(t)
	exposeUnderOtherName(t)
	ns := shared.Namespace(t, nil)
	profile := func(name string) func(*corev1.Pod) { return bed.Annotate("profile", name) }
	rows := []struct {
		name   string
		change func(*corev1.Pod)
		code   int
		// cause and advice are what people read.
		cause, advice string
	}{
		{"a namespace that is not bound", profile("walkthrough"), 5,
			"the gateway denied the login (401 Unauthorized): unauthorized: bound namespaces mismatch", "audit log what would pass"},
		{"a token for another audience", bed.Annotate("audience", "elsewhere"), 5,
			"the gateway denied the login (401 Unauthorized): failed to validate token: the token is meant for another audience", "the annotation gatepass.dev/audience"},
		{"an access id that the gateway does not know", profile("unknown-access-id"), 5,
			"access id [p-unknownunkno12km] does not belong to k8s auth name [tests]", "check the access id and the auth config"},
		{"an auth config that the gateway does not know", profile("unknown-auth-config"), 5,
			"k8s auth name [nowhere] not found", "check the access id and the auth config"},
		{"a host that DNS does not know", profile("unknown-host"), 3,
			`DNS knows no host "gatepass-gateway.no-such-namespace.svc.cluster.local"`, "check the address"},
		{"a port at which nothing listens", profile("nothing-listens"), 3,
			"the gateway at https://" + machine.NodeAddress + ":8001 can't be reached: connection refused", "is the gateway running, and is this its port?"},
		{"a server that never answers", profile("never-answers"), 3,
			"the gateway at https://" + machine.NodeAddress + ":" + silentPort + " can't be reached: no answer in time", "it is overloaded"},
		{"a firewall that drops packets", profile("packets-vanish"), 3,
			"the gateway at https://" + machine.NodeAddress + ":" + droppedPort + " can't be reached: connecting timed out", "check NetworkPolicies and firewalls"},
		{"a certificate of another authority", profile("other-authority"), 4,
			"the certificate of gatepass-gateway.gatepass-system.svc was issued by \"CN=gatepass-gateway-ca\", which is not among the trusted authorities", "a profile's gateway.caFile"},
		{"a certificate for other names", profile("other-name"), 4,
			"the certificate is not valid for other-name.gatepass-system.svc but for gatepass-gateway.gatepass-system.svc", "set the gateway's url to one of these names"},
	}
	// They spend their time side by side.
	for i, row := range rows {
		for _, mode := range modes() {
			shared.Create(t, bed.Application(ns, fmt.Sprintf("app-%d-%s", i, mode), row.change, bed.Annotate("mode", mode),
				bed.Annotate("timeout", timeout.String()), func(pod *corev1.Pod) { pod.Spec.RestartPolicy = corev1.RestartPolicyNever }))
		}
	}
	for i, row := range rows {
		for _, mode := range modes() {
			t.Run(row.name+", mode "+mode, func(t *testing.T) {
				pod := fmt.Sprintf("app-%d-%s", i, mode)
				end := shared.AgentEnd(t, ns, pod)
				if took := end.FinishedAt.Sub(end.StartedAt.Time); took > timeout+leeway {
					t.Errorf("the agent took %s, with a timeout of %s", took, timeout)
				}
				shown := agentIn(t, kubectl(t, "describe", "pod", "-n", ns, pod))
				for _, want := range []string{row.cause, row.advice, fmt.Sprintf("Exit Code:     %d", row.code)} {
					if !strings.Contains(shown, want) {
						t.Errorf("kubectl describe does not say %q:\n%s", want, shown)
					}
				}
				shared.AgentSays(t, ns, pod, row.cause)
				checkNotStarted(t, ns, pod)
			})
		}
	}
}

// agentIn is what `kubectl describe pod` says about the agent.
func agentIn(t *testing.T, described string) string {
	t.Helper()
	_, rest, found := strings.Cut(described, "\n  "+bed.AgentContainer+":\n")
	if !found {
		t.Fatalf("no agent in\n%s", described)
	}
	part, _, _ := strings.Cut(rest, "\nContainers:")
	return part
}

// checkNotStarted fails the test if an application runs without a session.
func checkNotStarted(t *testing.T, ns, pod string) {
	t.Helper()
	for _, c := range shared.Get(t, ns, pod).Status.ContainerStatuses {
		if c.ContainerID != "" || c.State.Waiting == nil {
			t.Errorf("container %s was started: %+v", c.Name, c.State)
		}
	}
}

// listenSilently takes connections, and never says a word.
func listenSilently(t *testing.T) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(machine.NodeAddress, silentPort))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var held []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, conn)
		}
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
}

// dropPackets has the machine's firewall drop what comes to a port.
func dropPackets(t *testing.T) {
	t.Helper()
	nft := func(ctx context.Context, command string) error {
		out, err := exec.CommandContext(ctx, "nft", command).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("nft %s: %w: %s", command, err, out)
		}
		return err
	}
	rules := "table inet gatepass-e2e { chain input { type filter hook input priority 0; tcp dport " + droppedPort + " drop; }; }"
	if err := nft(t.Context(), "add "+rules); err != nil {
		t.Fatal(err)
	}
	removed(t, "the firewall's rule", func(ctx context.Context) error { return nft(ctx, "delete table inet gatepass-e2e") })
}

// exposeUnderOtherName gives the gateway a name that its certificate lacks.
func exposeUnderOtherName(t *testing.T) {
	t.Helper()
	services := shared.Client.CoreV1().Services(bed.System)
	const name = "other-name"
	_, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app.kubernetes.io/name": "gatepass", "app.kubernetes.io/component": string(bed.Gateway)},
			Ports:    []corev1.ServicePort{{Port: 8000, TargetPort: intstr.FromString("api")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	removed(t, "the Service "+name, func(ctx context.Context) error { return services.Delete(ctx, name, metav1.DeleteOptions{}) })
	shared.Await(t, "the Service "+name+" has endpoints", func(ctx context.Context) error {
		slices, err := shared.Client.DiscoveryV1().EndpointSlices(bed.System).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + name})
		if err == nil && (len(slices.Items) == 0 || len(slices.Items[0].Endpoints) == 0) {
			err = errors.New("it has none")
		}
		return err
	})
}
