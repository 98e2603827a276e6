//go:build e2e

package rotation_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/documented"
)

const (
	caSecret = "gatepass-gateway-ca"
	// caRotations is how often the gateway's CA is replaced.
	caRotations = 3
	// startsWithin is how long a gateway may take that starts after a rotation, on a
	// busy machine. It waited for three minutes once.
	startsWithin = 90 * time.Second
)

// Pods keep the bundle that they were created with. This comes before the tests that
// run in parallel: it ends with a CA that pods of before don't trust.
func TestPodsOfBeforeLogInWhileTheGatewaysCAIsReplaced(t *testing.T) {
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar, bed.Annotate("profile", "short")))
	pod := shared.Running(t, ns, "app")
	bundle := bundleOf(t, pod)
	cas := []string{string(caData(t)["tls.crt"])}
	for n := range caRotations {
		typed(t, "### Replace the gateway's CA")
		shared.Await(t, "the previous CA has signed the new one", func(context.Context) error {
			data := caData(t) //nolint:contextcheck // it takes the test's
			if string(data["tls.crt"]) == cas[n] || len(data["tls.crt"]) == 0 || !bytes.Equal(data["signer.crt"], data["tls.crt"]) {
				return errors.New("it has not")
			}
			return nil
		})
		cas = append(cas, string(caData(t)["tls.crt"]))
		// Gateways that start serve with the new CA at once, and have nothing to wait for.
		began := time.Now()
		restartGateways(t)
		if took := time.Since(began); took > startsWithin {
			t.Errorf("rotation %d: the gateways took %s to be ready", n, took)
		}
		if got := shownCAs(t, bundle); got != n+1 {
			t.Errorf("rotation %d: %d cross certificates are served", n, got)
		}
		loggedInSince(t, pod, time.Now())
		if out, err := validate(t, ns, "app"); err != nil {
			t.Errorf("rotation %d: the application can't ask the gateway: %v\n%s", n, err, out)
		}
	}
	if strings.Contains(bundle, cas[1]) {
		t.Error("the pod's bundle is not of before")
	}
	for _, c := range shared.Get(t, ns, "app").Status.InitContainerStatuses {
		if c.RestartCount > 0 {
			t.Errorf("%s was restarted %d times", c.Name, c.RestartCount)
		}
	}

	typed(t, "### A stolen key of the gateway's CA")
	shared.Await(t, "only the new CA is in a new pod's bundle", func(ctx context.Context) error {
		pod, err := shared.Client.CoreV1().Pods(ns).Create(ctx, bed.Application(ns, "fresh"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return err
		}
		fresh := bundleOf(t, pod)
		for i, ca := range cas {
			if strings.Contains(fresh, strings.TrimSpace(ca)) {
				return fmt.Errorf("it has CA %d", i)
			}
		}
		return nil
	})
	shared.Create(t, bed.Application(ns, "after", bed.Sidecar, bed.Annotate("profile", "short")))
	shared.Running(t, ns, "after")
	if out, err := validate(t, ns, "after"); err != nil {
		t.Errorf("a pod that was created after the break: %v\n%s", err, out)
	}
	if out, err := validate(t, ns, "app"); err == nil {
		t.Errorf("a pod with the old bundle accepts the new CA: %s", out)
	}
	// The last command lists who has to be created again.
	commands := documented.Commands(t, operations, "### A stolen key of the gateway's CA")
	out, err := documented.Run(t, shared.Kubeconfig, shared.Binaries(), commands[len(commands)-1])
	if err != nil || !strings.Contains(out, " "+ns+"/app\n") {
		t.Errorf("the pods to create again: %v\n%s", err, out)
	}
}

const operations = "docs/operations.md"

// typed runs the commands of a section of docs/operations.md.
func typed(t *testing.T, heading string) {
	t.Helper()
	for _, command := range documented.Commands(t, operations, heading) {
		if out, err := documented.Run(t, shared.Kubeconfig, shared.Binaries(), command); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

func caData(t *testing.T) map[string][]byte {
	t.Helper()
	secret, err := shared.Client.CoreV1().Secrets(bed.System).Get(t.Context(), caSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Data
}

// bundleOf is what a pod verifies the gateway with.
func bundleOf(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	for _, c := range pod.Spec.InitContainers {
		i := slices.IndexFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == "GATEPASS_CA_BUNDLE" })
		if c.Name == bed.AgentContainer && i >= 0 {
			return c.Env[i].Value
		}
	}
	t.Fatalf("pod %s has no bundle", pod.Name)
	return ""
}

func restartGateways(t *testing.T) {
	t.Helper()
	if _, _, err := shared.Kubectl(t.Context(), "rollout", "restart", "-n", bed.System, "deployment/"+bed.Gateway.Deployment()); err != nil {
		t.Fatal(err)
	}
	if err := shared.RolledOut(t.Context(), bed.System, bed.Gateway.Deployment()); err != nil {
		t.Fatal(err)
	}
}

// shownCAs is how many cross certificates every gateway shows to a client that has a
// bundle, and accepts it.
func shownCAs(t *testing.T, bundle string) int {
	t.Helper()
	pods, err := shared.Replicas(t.Context(), bed.Gateway)
	if err != nil || len(pods) == 0 {
		t.Fatalf("%d gateways: %v", len(pods), err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(bundle))
	fewest := -1
	for i := range pods {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: bed.GatewayHost, MinVersion: tls.VersionTLS12}}
		conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort(pods[i].Status.PodIP, "8000"))
		if err != nil {
			t.Fatalf("gateway %s: %v", pods[i].Name, err)
		}
		encrypted, ok := conn.(*tls.Conn)
		if !ok {
			t.Fatalf("a TLS dialer made a %T", conn)
		}
		n := len(encrypted.ConnectionState().PeerCertificates) - 1
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if fewest < 0 || n < fewest {
			fewest = n
		}
	}
	return fewest
}

// loggedInSince waits until a pod's session was issued after a time.
func loggedInSince(t *testing.T, pod *corev1.Pod, since time.Time) {
	t.Helper()
	renewed(t, pod, projected{issued: since.Truncate(time.Second)})
}

// validate has an application ask the gateway about its session, with what it finds
// beside that.
func validate(t *testing.T, ns, pod string) (string, error) {
	t.Helper()
	out, problem, err := shared.Kubectl(t.Context(), "exec", "-n", ns, pod, "-c", "app", "--", "/bin/gatepass", "validate-token")
	return out + problem, err
}
