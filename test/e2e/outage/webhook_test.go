//go:build e2e

package outage_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
)

const (
	// plainBound is what the creation of a plain pod may take while the webhook is
	// in trouble. A call of the webhook would take its timeoutSeconds, 5, when the
	// webhook hangs; creating a pod takes some milliseconds, but this machine is
	// small.
	plainBound = 4 * time.Second
	// failing is what a user sees when no webhook answers, and finds in
	// docs/operations.md.
	failing = `failed calling webhook "inject.gatepass.dev"`
)

// Pods are created all the time. Where the webhook is expected to go on, none is
// refused; elsewhere annotated ones are, and get in later.
func TestNoPodIsWithoutItsAgentWhateverHappensToTheWebhook(t *testing.T) {
	l := startLoad(t)
	kubectl := func(args ...string) {
		t.Helper()
		if _, _, err := shared.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	l.during(t, "calm before", func(*phase) {})
	l.during(t, "a pod killed", func(*phase) {
		killed := webhooks(t)[0].Name
		kubectl("delete", "pod", "-n", bed.System, killed, "--grace-period=0", "--force")
		awaitReplicas(t, bed.Webhook, killed)
	})
	l.during(t, "a process killed", func(*phase) { killProcesses(t, webhooks(t)[:1]) })
	l.during(t, "all processes killed", func(*phase) { killProcesses(t, webhooks(t)) })
	l.during(t, "all hang", func(p *phase) { hang(t, l, p) })
	steady := []*phase{l.during(t, "rolled", func(*phase) {
		old := webhooks(t)
		kubectl("rollout", "restart", "-n", bed.System, "deployment/"+bed.Webhook.Deployment())
		awaitReplicas(t, bed.Webhook, old[0].Name, old[1].Name)
	})}
	var deployment string
	l.during(t, "scaled to zero and back", func(p *phase) {
		kubectl("scale", "-n", bed.System, "deployment/"+bed.Webhook.Deployment(), "--replicas=0")
		deployment = refused(t, l, p)
		kubectl("scale", "-n", bed.System, "deployment/"+bed.Webhook.Deployment(), "--replicas=2")
		awaitReplicas(t, bed.Webhook)
	})
	l.during(t, "calm between", func(*phase) {
		if err := shared.RolledOut(t.Context(), l.ns, deployment); err != nil {
			t.Errorf("a Deployment that was created during the outage: %v", err)
		}
	})
	steady = append(steady,
		l.during(t, "certificate rotated", func(*phase) { rotate(t) }),
		l.during(t, "configuration broken", func(*phase) { breakConfiguration(t) }),
		l.during(t, "calm after", func(*phase) { l.awaitEnough(t) }))
	l.finish(t)
	l.print(t)

	for _, problem := range l.broken() {
		t.Error(problem)
	}
	for _, p := range steady {
		if p.refused > 0 {
			t.Errorf("%s: %d tries were refused: %s", p.name, p.refused, p.message)
		}
	}
	for _, p := range l.phases {
		if p.slowest[plain] > plainBound {
			t.Errorf("%s: creating a plain pod took %s", p.name, p.slowest[plain])
		}
	}
	l.ran(t, "plain")
	l.ran(t, "annotated")
}

// webhooks are the replicas.
func webhooks(t *testing.T) []corev1.Pod {
	t.Helper()
	pods, err := shared.Replicas(t.Context(), bed.Webhook)
	if err != nil {
		t.Fatal(err)
	}
	if len(pods) != 2 {
		t.Fatalf("%d replicas", len(pods))
	}
	return pods
}

// awaitReplicas waits until a component has its two replicas, ready and none of
// them one of the old, and until the API server finds a webhook.
func awaitReplicas(t *testing.T, c bed.Component, old ...string) {
	t.Helper()
	shared.Await(t, "the replicas are ready: "+string(c), func(ctx context.Context) error {
		pods, err := shared.Replicas(ctx, c)
		if err != nil {
			return err
		}
		ready := 0
		for _, pod := range pods {
			if slices.Contains(old, pod.Name) {
				return fmt.Errorf("pod %s is still there", pod.Name)
			}
			if isReady(&pod) {
				ready++
			}
		}
		if ready != 2 || len(pods) != 2 {
			return fmt.Errorf("%d of %d pods are ready", ready, len(pods))
		}
		return nil
	})
	shared.Await(t, "the webhook injects", shared.Injects)
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// killProcesses ends containers as the kernel does when memory is short, and
// waits until the kubelet has started them again.
func killProcesses(t *testing.T, pods []corev1.Pod) {
	t.Helper()
	for _, pod := range pods {
		if err := shared.Signal(&pod, string(bed.Webhook), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for _, pod := range pods {
		before := pod.Status.ContainerStatuses[0].RestartCount
		shared.WaitFor(t, bed.System, pod.Name, "is ready again", func(pod *corev1.Pod) bool {
			c := pod.Status.ContainerStatuses[0]
			return c.RestartCount > before && c.Ready
		})
	}
}

// hang stops all processes without ending them, until pods were refused and
// the kubelet has noticed.
func hang(t *testing.T, l *load, p *phase) {
	t.Helper()
	pods := webhooks(t)
	signal := func(s syscall.Signal) {
		for _, pod := range pods {
			if err := shared.Signal(&pod, string(bed.Webhook), s); err != nil {
				t.Error(err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	defer awaitReplicas(t, bed.Webhook)
	defer signal(syscall.SIGCONT)
	awaitRefusals(t, l, p)
	for _, pod := range pods {
		shared.WaitFor(t, bed.System, pod.Name, "is not ready", func(pod *corev1.Pod) bool { return !isReady(pod) })
	}
}

func awaitRefusals(t *testing.T, l *load, p *phase) {
	t.Helper()
	shared.Await(t, "annotated pods are refused: "+p.name, func(context.Context) error {
		if n := l.refusals(p); n < 10 {
			return fmt.Errorf("%d refusals", n)
		}
		return nil
	})
}

// refused waits until no replica is left, sees what users see, and returns a
// Deployment that waits for better days.
func refused(t *testing.T, l *load, p *phase) string {
	t.Helper()
	awaitRefusals(t, l, p)
	_, err := shared.Client.CoreV1().Pods(l.ns).Create(t.Context(), bed.Application(l.ns, "tried"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil || !strings.Contains(err.Error(), failing) {
		t.Errorf("an annotated pod without a webhook: %v", err)
	}
	labels := map[string]string{"app": "waits"}
	template := bed.Application(l.ns, "")
	made, err := shared.Client.AppsV1().Deployments(l.ns).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "waits"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: template.Annotations},
				Spec:       template.Spec,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	shared.Await(t, "the ReplicaSet's event says why there is no pod", func(ctx context.Context) error {
		text, _, err := shared.Kubectl(ctx, "describe", "replicaset", "-n", l.ns, "-l", "app=waits")
		if err == nil && !strings.Contains(text, failing) {
			err = errors.New(text)
		}
		return err
	})
	return made.Name
}

// authority is the Secret of the webhook's, and rotation what docs/operations.md
// tells administrators to do with it.
const (
	authority = "gatepass-webhook-ca"
	rotation  = `[{"op":"remove","path":"/data"}]`
)

// rotate replaces the authority and waits until every replica serves with a
// certificate of the new one.
func rotate(t *testing.T) {
	t.Helper()
	read := func(ctx context.Context) (string, error) {
		secret, err := shared.Client.CoreV1().Secrets(bed.System).Get(ctx, authority, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return string(secret.Data[corev1.TLSCertKey]), nil
	}
	pods := webhooks(t)
	old, err := read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := shared.Kubectl(t.Context(), "-n", bed.System, "patch", "secret", authority, "--type=json", "-p", rotation); err != nil {
		t.Fatal(err)
	}
	shared.Await(t, "the replicas serve with the new authority's certificates", func(ctx context.Context) error {
		ca, err := read(ctx)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		if ca == old || !roots.AppendCertsFromPEM([]byte(ca)) {
			return errors.New("there is no new authority")
		}
		for _, pod := range pods {
			dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "gatepass-webhook." + bed.System + ".svc", MinVersion: tls.VersionTLS12}}
			conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, "9443"))
			if err != nil {
				return err
			}
			if err := conn.Close(); err != nil {
				return err
			}
		}
		return nil
	})
}

// breakConfiguration writes rubbish into the ConfigMap, waits until the
// replicas say so, and takes it back.
func breakConfiguration(t *testing.T) {
	t.Helper()
	good, pods := shared.Configuration(t, bed.Webhook), webhooks(t)
	awaitReload := func(what string, want float64) {
		t.Helper()
		shared.Await(t, what, func(ctx context.Context) error {
			for _, pod := range pods {
				m, err := shared.Metrics(ctx, &pod)
				if err != nil {
					return err
				}
				if got := m.Sum("gatepass_webhook_config_last_reload_successful"); got != want {
					return fmt.Errorf("pod %s: %v", pod.Name, got)
				}
			}
			return nil
		})
	}
	shared.Configure(t, bed.Webhook, "profiles: [rubbish")
	awaitReload("the replicas notice the rubbish", 0)
	for _, pod := range pods {
		if log := shared.Logs(t, bed.System, pod.Name, string(bed.Webhook)); !strings.Contains(log, "the configuration is broken: the last good configuration stays in use") {
			t.Errorf("pod %s does not log that its configuration is broken", pod.Name)
		}
	}
	shared.Configure(t, bed.Webhook, good)
	awaitReload("the replicas have their configuration again", 1)
}
