//go:build e2e

package storm_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/stand"
)

// crowd is how many come at once.
const crowd = 1000

// reviewTime is what the slow API server takes for a token review. Two gateways
// with 64 reviews at a time (gateway.DefaultMaxLogins) then let 64 pods in each
// second, and each has a queue of 192 (DefaultMaxWaiting) that nobody stays in for
// more than 5 s (DefaultPatience): too little for a thousand.
const reviewTime = 2 * time.Second

func TestStorm(t *testing.T) {
	ns := shared.Namespace(t, nil)
	ca := shared.ReachGateway(t)
	ok := t.Run("a thousand pods are created at once", func(t *testing.T) { createAll(t, ns) })
	if !ok {
		return // the rest needs the pods
	}
	agents := newAgents(t, ns, ca)
	t.Run("a thousand agents log in at once", func(t *testing.T) {
		watched := watchGateways(t)
		result := agents.logIn(t, "tests")
		after := watched.stop(t)
		result.print(t)
		if granted := after.logins("granted", "ok"); granted < crowd {
			t.Errorf("the gateways count %v logins", granted)
		}
	})
	t.Run("a thousand agents log in at once with an API server that is slow", func(t *testing.T) {
		addSlowAPIServer(t)
		watched := watchGateways(t)
		result := agents.logIn(t, "slow")
		after := watched.stop(t)
		result.print(t)
		if after.waiting == 0 {
			t.Error("the metrics never show that somebody waits")
		}
		if shed := after.logins("failed", "overloaded"); shed == 0 || result.sentAway == 0 {
			t.Errorf("the gateways sent %v away, the agents met %d answers of 429: nobody was too many", shed, result.sentAway)
		}
		if result.early > 0 {
			t.Errorf("%d tries did not wait as long as Retry-After asks", result.early)
		}
	})
}

// quickBucket is one of the webhook's histogram.
const quickBucket = "0.01"

// controller is a client of the API server as the controller of ReplicaSets: who
// creates a thousand pods is one of Kubernetes' controllers. The API server lets a
// hundred or so of their requests in at a time, and has the rest wait or come
// again, which the client does. Administrators are exempt from that: a thousand
// requests of theirs at a time keep two cores busy for longer than the API server
// waits for a webhook, be that ever so quick.
func controller(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	config := rest.CopyConfig(shared.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:kube-system:replicaset-controller",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// createAll creates the pods. They never run: admission is what counts.
func createAll(t *testing.T, ns string) {
	t.Helper()
	admitted := func() (injected, quick float64) {
		pods, err := shared.Replicas(t.Context(), bed.Webhook)
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods {
			m, err := shared.Metrics(t.Context(), &pod)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("webhook %s: %.0f injected, %.0f busy, %.0f MiB", pod.Name, m.Sum("gatepass_webhook_admissions_total", "result", "injected"),
				m.Sum("gatepass_webhook_admissions_total", "reason", "busy"), m.Sum("process_resident_memory_bytes")/(1<<20))
			injected += m.Sum("gatepass_webhook_admissions_total", "result", "injected")
			quick += m.Sum("gatepass_webhook_admission_duration_seconds_bucket", "le", quickBucket)
			if n := pod.Status.ContainerStatuses[0].RestartCount; n > 0 {
				t.Errorf("webhook %s restarted %d times", pod.Name, n)
			}
		}
		return injected, quick
	}
	before, quickBefore := admitted()
	client := controller(t)
	took := make([]time.Duration, crowd)
	errs := make([]error, crowd)
	begin := make(chan struct{})
	var done sync.WaitGroup
	for i := range crowd {
		done.Go(func() {
			pod := bed.Application(ns, podName(i), func(pod *corev1.Pod) { pod.Spec.SchedulerName = "nobody" })
			<-begin
			began := time.Now()
			_, errs[i] = client.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
			took[i] = time.Since(began)
		})
	}
	began := time.Now()
	close(begin)
	done.Wait()
	t.Logf("%d pods were created in %s; %s", crowd, time.Since(began).Round(time.Millisecond), distribution(took))
	refused := 0
	for _, err := range errs {
		if err != nil {
			if refused++; refused <= 10 {
				t.Log(err)
			}
		}
	}
	if refused > 0 {
		t.Errorf("%d of %d pods were refused", refused, crowd)
	}
	pods, err := shared.Client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	with := 0
	for _, pod := range pods.Items {
		if slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == bed.AgentContainer }) {
			with++
		}
	}
	if len(pods.Items) != crowd || with != crowd {
		t.Errorf("%d pods are there, %d with an agent", len(pods.Items), with)
	}
	after, quickAfter := admitted()
	t.Logf("the webhooks answered %.0f reviews, %.0f of them within %s s", after-before, quickAfter-quickBefore, quickBucket)
	if after-before < crowd {
		t.Error("that is not all")
	}
}

func podName(i int) string { return fmt.Sprintf("pod-%d", i) }

// distribution sorts.
func distribution(took []time.Duration) string {
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[(len(took)-1)*percent/100].Round(time.Millisecond) }
	return fmt.Sprintf("median %s, 90 %% within %s, 99 %% within %s, all within %s", at(50), at(90), at(99), at(100))
}

// addSlowAPIServer adds the auth config slow to the gateway's configuration. Its
// API server is the real one, reached by a slow way.
func addSlowAPIServer(t *testing.T) {
	t.Helper()
	transport, err := rest.TransportFor(shared.Config)
	if err != nil {
		t.Fatal(err)
	}
	fast := stand.Proxy(t, shared.Host(), transport)
	slow := stand.Handle(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(reviewTime):
			fast(w, r)
		case <-r.Context().Done():
		}
	})
	before := shared.Configuration(t, bed.Gateway)
	shared.Reconfigure(t, map[bed.Component]string{bed.Gateway: fmt.Sprintf(
		"%s- {name: slow, accessID: p-testtesttest12k1, host: %q, caBundle: %q, reviewer: {type: self}}\n", before, slow.URL, slow.CA)})
	t.Cleanup(func() { shared.Configure(t, bed.Gateway, before) })
}

// gateways is what the gateways' metrics said during a storm: the largest that
// were seen of one replica, and the counters' increase.
type gateways struct {
	pods          []corev1.Pod
	before, after []bed.Metrics
	cancel        context.CancelFunc
	done          chan struct{}

	looks                                  int
	inFlight, waiting, connections, memory float64
}

func watchGateways(t *testing.T) *gateways {
	t.Helper()
	pods, err := shared.Replicas(t.Context(), bed.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g := &gateways{pods: pods, cancel: cancel, done: make(chan struct{})}
	g.before = g.read(t)
	go func() {
		defer close(g.done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, pod := range pods {
				if m, err := shared.Metrics(ctx, &pod); err == nil {
					g.look(m)
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { g.cancel(); <-g.done })
	return g
}

func (g *gateways) look(m bed.Metrics) {
	g.looks++
	g.inFlight = max(g.inFlight, m.Sum("gatepass_gateway_logins_in_flight"))
	g.waiting = max(g.waiting, m.Sum("gatepass_gateway_logins_waiting"))
	g.connections = max(g.connections, m.Sum("gatepass_gateway_connections"))
	g.memory = max(g.memory, m.Sum("process_resident_memory_bytes"))
}

func (g *gateways) read(t *testing.T) (all []bed.Metrics) {
	t.Helper()
	for _, pod := range g.pods {
		m, err := shared.Metrics(t.Context(), &pod)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// stop prints what was seen, and checks that both gateways got through.
func (g *gateways) stop(t *testing.T) *gateways {
	t.Helper()
	g.cancel()
	<-g.done
	g.after = g.read(t)
	t.Logf("a gateway had at most %.0f logins in flight, %.0f of them waiting, %.0f connections and %.0f MiB, in %d looks",
		g.inFlight, g.waiting, g.connections, g.memory/(1<<20), g.looks)
	t.Logf("the gateways count %v logins granted and %v sent away", g.logins("granted", "ok"), g.logins("failed", "overloaded"))
	for _, pod := range g.pods {
		if n := shared.Get(t, bed.System, pod.Name).Status.ContainerStatuses[0].RestartCount; n > 0 {
			t.Errorf("gateway %s restarted %d times", pod.Name, n)
		}
		if limit := pod.Spec.Containers[0].Resources.Limits.Memory().Value(); g.memory > float64(limit) {
			t.Errorf("a gateway took %.0f bytes, its limit is %d", g.memory, limit)
		}
	}
	return g
}

// logins is how much a counter has increased, in both gateways.
func (g *gateways) logins(result, reason string) (n float64) {
	for i := range g.pods {
		const name = "gatepass_gateway_logins_total"
		n += g.after[i].Sum(name, "result", result, "reason", reason) - g.before[i].Sum(name, "result", result, "reason", reason)
	}
	return n
}
