package bed

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/test/machine"
)

// Component is one of Gatepass' servers.
type Component string

// The components; also the names of their containers.
const (
	Webhook Component = "webhook"
	Gateway Component = "gateway"
)

// Deployment is the component's, in the namespace System.
func (c Component) Deployment() string { return "gatepass-" + string(c) }

// configMap holds the component's configuration.
func (c Component) configMap() string { return "gatepass-" + string(c) + "-config" }

// configKey is the key of the ConfigMaps.
const configKey = "config.yaml"

// Replicas are the component's pods that are not about to go.
func (b *Bed) Replicas(ctx context.Context, c Component) ([]corev1.Pod, error) {
	list, err := b.Client.CoreV1().Pods(System).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=gatepass,app.kubernetes.io/component=" + string(c),
	})
	if err != nil {
		return nil, err
	}
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// Configuration is what a component's ConfigMap holds.
func (b *Bed) Configuration(t testing.TB, c Component) string {
	t.Helper()
	config, err := b.Client.CoreV1().ConfigMaps(System).Get(t.Context(), c.configMap(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return config.Data[configKey]
}

// Configure writes a component's ConfigMap. The kubelet takes some ten seconds to
// pass it on. Tests may also call it to clean up.
func (b *Bed) Configure(t testing.TB, c Component, config string) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"data": map[string]string{configKey: config}})
	if err == nil {
		_, err = b.Client.CoreV1().ConfigMaps(System).Patch(context.WithoutCancel(t.Context()), c.configMap(), types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Reconfigure writes configurations and waits until all replicas use them.
func (b *Bed) Reconfigure(t testing.TB, texts map[Component]string) {
	t.Helper()
	reloads := func(ctx context.Context, c Component, pod *corev1.Pod) (float64, error) {
		m, err := b.Metrics(ctx, pod)
		return m.Sum("gatepass_"+string(c)+"_config_reloads_total", "result", "success"), err
	}
	type replica struct {
		component Component
		pod       corev1.Pod
		before    float64
	}
	var replicas []replica
	for component, text := range texts {
		pods, err := b.Replicas(t.Context(), component)
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods {
			before, err := reloads(t.Context(), component, &pod)
			if err != nil {
				t.Fatal(err)
			}
			replicas = append(replicas, replica{component, pod, before})
		}
		b.Configure(t, component, text)
	}
	b.Await(t, "the replicas use their new configuration", func(ctx context.Context) error {
		for _, r := range replicas {
			now, err := reloads(ctx, r.component, &r.pod)
			if err != nil {
				return err
			}
			if now <= r.before {
				return fmt.Errorf("pod %s has not", r.pod.Name)
			}
		}
		return nil
	})
}

// metricsPort is that of the manifests.
const metricsPort = "8080"

// Metrics reads a replica's metrics.
func (b *Bed) Metrics(ctx context.Context, pod *corev1.Pod) (Metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":"+metricsPort+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bufio.NewReader(res.Body))
	if err != nil {
		return nil, fmt.Errorf("read the metrics of pod %s: %w", pod.Name, err)
	}
	var all Metrics
	for name, family := range families {
		for _, m := range family.GetMetric() {
			s := series{name: name, value: m.GetCounter().GetValue() + m.GetGauge().GetValue(), labels: map[string]string{}}
			for _, l := range m.GetLabel() {
				s.labels[l.GetName()] = l.GetValue()
			}
			all = append(all, s)
			if h := m.GetHistogram(); h != nil {
				all = append(all, s.as("_count", float64(h.GetSampleCount())), s.as("_sum", h.GetSampleSum()))
				for _, bucket := range h.GetBucket() {
					one := s.as("_bucket", float64(bucket.GetCumulativeCount()))
					one.labels["le"] = strconv.FormatFloat(bucket.GetUpperBound(), 'g', -1, 64)
					all = append(all, one)
				}
			}
		}
	}
	return all, nil
}

// Metrics are a replica's counters, gauges and histograms, these as series
// whose names end in _count, _sum and _bucket.
type Metrics []series

type series struct {
	name   string
	labels map[string]string
	value  float64
}

func (s series) as(ending string, value float64) series {
	return series{s.name + ending, maps.Clone(s.labels), value}
}

// Sum adds up a metric's series that have these labels, given as name and
// value in turn.
func (m Metrics) Sum(name string, labels ...string) float64 {
	var sum float64
	for _, s := range m {
		matches := s.name == name
		for i := 0; i+1 < len(labels); i += 2 {
			matches = matches && s.labels[labels[i]] == labels[i+1]
		}
		if matches {
			sum += s.value
		}
	}
	return sum
}

// GatewayHost is the name of the gateway's Service, and GatewayURL its address.
const (
	GatewayHost = "gatepass-gateway." + System + ".svc"
	GatewayURL  = "https://" + GatewayHost + ":8000"
)

// ReachGateway has the machine's programs find the gateway under the name that
// pods use, and returns the authority that they verify it with, as PEM.
func (b *Bed) ReachGateway(t testing.TB) string {
	t.Helper()
	service, err := b.Client.CoreV1().Services(System).Get(t.Context(), Gateway.Deployment(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := machine.AddHost(service.Spec.ClusterIP, GatewayHost); err != nil {
		t.Fatal(err)
	}
	ca, err := b.Client.CoreV1().ConfigMaps(System).Get(t.Context(), "gatepass-gateway-ca", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ca.Data["ca.crt"]
}

// Signal sends a signal to the process of a pod's container.
func (b *Bed) Signal(pod *corev1.Pod, container string, signal syscall.Signal) error {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name != container {
			continue
		}
		pid, err := processOf(strings.TrimPrefix(status.ContainerID, "containerd://"))
		if err != nil {
			return fmt.Errorf("signal %s of pod %s: %w", container, pod.Name, err)
		}
		return syscall.Kill(pid, signal)
	}
	return fmt.Errorf("pod %s has no container %s", pod.Name, container)
}

// processOf finds the process of a container by its control group, which bears
// the container's id. Ours have one process each.
func processOf(id string) (int, error) {
	if id == "" {
		return 0, errors.New("the container has not started")
	}
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		groups, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if strings.Contains(string(groups), id) {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("no process is in container %s", id)
}
