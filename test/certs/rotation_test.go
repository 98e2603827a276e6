package certs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/certs"
	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/manifests"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/product"
)

const (
	admissionsPerSecond = 40
	// staleness is the age of the bundle with which an imagined API server
	// lags behind. It is below the delay that the product promises.
	staleness = certs.DefaultWebhookPropagationDelay - 2*time.Second
)

// TestAdmissionsGoOnThroughRotations runs two replicas of the real webhook,
// with the manifests' rights, behind the manifests' Service and webhook
// configuration.
func TestAdmissionsGoOnThroughRotations(t *testing.T) {
	install(t)
	replicas := startWebhooks(t, 2, product.WebhookOptions{
		Config:      configFile(t),
		SelfManaged: &product.SelfManaged{Kubeconfig: accountKubeconfig(t, webhookAccount), Namespace: manifests.Namespace},
	})
	namespace, err := shared.CreateNamespace(t.Context(), "rotation", nil)
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the API server calls the webhook", func() bool { return admit(t.Context(), namespace) == nil },
		func() string { return fmt.Sprint(admit(t.Context(), namespace)) })

	load := startLoad(t, namespace, replicas)
	first := authority(t, webhookSecret)
	authorities := [][]byte{first}
	for _, again := range []time.Duration{0, 3 * time.Second, 0} {
		load.mark("rotation")
		authorities = append(authorities, rotate(t))
		if again > 0 {
			// Once more while the certificate of the first is held back.
			<-time.After(again)
			authorities = append(authorities, rotate(t))
		}
		newest := authorities[len(authorities)-1]
		for _, replica := range replicas {
			await.Until(t, "the new authority's certificate is served", func() bool {
				return dial(t.Context(), replica.address(), webhookName, newest) == nil
			})
		}
	}
	load.stop()

	t.Logf("%d admissions and %d handshakes with bundles up to %s old, through %d rotations; %d failed",
		load.admissions.Load(), load.handshakes.Load(), staleness, len(authorities)-1, len(load.failures))
	for _, failure := range load.failures {
		t.Error(failure)
	}
	if n := load.admissions.Load(); n < 300 {
		t.Errorf("only %d admissions; that proves little", n)
	}
	bundle := mustWebhookBundle(t)
	for i, ca := range authorities {
		if !bytes.Contains(bundle, ca) {
			t.Errorf("authority %d, still valid, is not published any more", i)
		}
	}
}

// rotate replaces the authority as docs/operations.md tells administrators to,
// and returns the new one.
func rotate(t *testing.T) []byte {
	t.Helper()
	old := authority(t, webhookSecret)
	if _, _, err := shared.Kubectl(t.Context(), "-n", manifests.Namespace, "patch", "secret", webhookSecret,
		"--type=json", "-p", `[{"op":"remove","path":"/data"}]`); err != nil {
		t.Fatal(err)
	}
	var ca []byte
	await.Until(t, "there is a new authority", func() bool {
		ca = authority(t, webhookSecret)
		return len(ca) != 0 && !bytes.Equal(ca, old)
	})
	return ca
}

type replica struct{ *product.Server }

func (r replica) address() string { return net.JoinHostPort(r.Address, strconv.Itoa(r.Port)) }

// startWebhooks runs replicas at a reachable address, and makes them the
// Service's endpoints.
func startWebhooks(t *testing.T, n int, o product.WebhookOptions) []replica {
	t.Helper()
	programs, err := product.New(t.Context(), product.Webhook)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := programs.Close(); err != nil {
			t.Error(err)
		}
	})
	o.BindAddress = reachableAddress(t)
	var replicas []replica
	for i := range n {
		server, err := programs.StartWebhook(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Logf("log of replica %d:\n%s", i, server.Logs())
			}
		})
		replicas = append(replicas, replica{server})
		addEndpoint(t, server, i)
	}
	return replicas
}

// addEndpoint does what the endpoint slice controller does for a ready pod.
func addEndpoint(t *testing.T, server *product.Server, i int) {
	t.Helper()
	name, port, ready := "admission", int32(server.Port), true
	slices := shared.Client.DiscoveryV1().EndpointSlices(manifests.Namespace)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:   fmt.Sprintf("gatepass-webhook-%d", i),
			Labels: map[string]string{discoveryv1.LabelServiceName: "gatepass-webhook"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{server.Address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}
	if _, err := slices.Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := slices.Delete(context.WithoutCancel(t.Context()), slice.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// reachableAddress is one of this machine's that endpoints may have, which
// loopback and link-local addresses may not.
func reachableAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	t.Fatalf("this machine has no IPv4 address but loopback (%v); a Service's endpoint needs one", addresses)
	return ""
}

func configFile(t *testing.T) string {
	t.Helper()
	ca, err := pki.NewCA("gateway")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf(`apiVersion: config.gatepass.dev/v1alpha1
kind: InjectorConfig
profiles:
  default:
    gateway: {url: "https://gatepass-gateway.gatepass-system.svc:8000", caBundle: %s}
    login: {accessID: p-abcdefghij12km, authConfig: k8s-conf}
    agent: {image: "ghcr.io/gatepass/agent:v0.1.0"}
`, quote(string(ca.PEM())))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// admit has an annotated pod admitted, and wants it injected.
func admit(ctx context.Context, namespace string) error {
	_, err := injected(ctx, namespace)
	return err
}

// injected is the agent that an annotated pod gets.
func injected(ctx context.Context, namespace string) (*corev1.Container, error) {
	pod, err := shared.Client.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "app-", Annotations: map[string]string{"gatepass.dev/inject": "true"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app:v1"}}},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "gatepass-agent" })
	if i < 0 {
		return nil, errors.New("admitted without the agent")
	}
	return &pod.Spec.InitContainers[i], nil
}

// load admits pods all the time, and shakes hands with each replica as an API
// server does that has the published bundle of now or of a while ago.
type load struct {
	namespace string
	replicas  []replica
	end       context.CancelFunc
	running   sync.WaitGroup
	began     time.Time

	admissions, handshakes atomic.Int64

	mu       sync.Mutex
	failures []string
	phase    string
	bundles  []agedBundle
}

type agedBundle struct {
	at  time.Time
	pem []byte
}

func startLoad(t *testing.T, namespace string, replicas []replica) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{namespace: namespace, replicas: replicas, end: cancel, began: time.Now(), phase: "start"}
	t.Cleanup(l.stop)
	limit := rate.NewLimiter(admissionsPerSecond, 1)
	for range 4 {
		l.running.Go(func() {
			for limit.Wait(ctx) == nil {
				l.count(ctx, &l.admissions, "admission", admit(ctx, namespace))
			}
		})
	}
	l.running.Go(func() {
		tick := rate.NewLimiter(4, 1)
		for tick.Wait(ctx) == nil {
			l.shakeHands(ctx)
		}
	})
	return l
}

func (l *load) shakeHands(ctx context.Context) {
	now, err := webhookBundle(ctx)
	if err != nil {
		l.count(ctx, &l.handshakes, "reading the bundle", err)
		return
	}
	l.bundles = append(l.bundles, agedBundle{time.Now(), now})
	for len(l.bundles) > 1 && time.Since(l.bundles[1].at) >= staleness {
		l.bundles = l.bundles[1:]
	}
	for _, replica := range l.replicas {
		for what, bundle := range map[string][]byte{"today's bundle": now, "an old bundle": l.bundles[0].pem} {
			l.count(ctx, &l.handshakes, "handshake with "+what, dial(ctx, replica.address(), webhookName, bundle))
		}
	}
}

func (l *load) count(ctx context.Context, counter *atomic.Int64, what string, err error) {
	if ctx.Err() != nil {
		return // cut off by the end of the load
	}
	counter.Add(1)
	if err != nil {
		l.mu.Lock()
		l.failures = append(l.failures, fmt.Sprintf("%s after %s, last phase %s: %s", what,
			time.Since(l.began).Round(time.Millisecond), l.phase, strings.TrimSpace(err.Error())))
		l.mu.Unlock()
	}
}

func (l *load) mark(phase string) {
	l.mu.Lock()
	l.phase = fmt.Sprintf("%s at %s", phase, time.Since(l.began).Round(time.Millisecond))
	l.mu.Unlock()
}

func (l *load) stop() {
	l.end()
	l.running.Wait()
}
