//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
)

// rounds is how many pods of each kind are started; kinds take turns, so that
// what else the machine does hits all of them.
const rounds = 25

// relist is how often the kubelet looks for containers that have ended
// (genericPlegRelistPeriod in its kubelet.go).
const relist = time.Second

// BenchmarkStart reports the median time from the request that creates a pod
// to the first instruction of its application. An init container costs what it
// costs because the kubelet looks for containers that have ended now and then.
func BenchmarkStart(b *testing.B) {
	kinds := []struct {
		name   string
		change func(*corev1.Pod)
	}{
		{"plain", func(pod *corev1.Pod) { pod.Annotations = nil }},
		{"sidecar", bed.Sidecar},
		{"init", bed.Annotate("mode", "init")},
		{"idle-init-container", func(pod *corev1.Pod) {
			pod.Annotations = nil
			idle := bed.Container("idle")
			idle.Command = []string{"/bin/busybox", "true"}
			pod.Spec.InitContainers = []corev1.Container{idle}
		}},
	}
	ns := shared.Namespace(b, nil)
	phase := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same in every run
	for b.Loop() {
		took := make([][]time.Duration, len(kinds))
		for round := range rounds + 1 {
			for i, kind := range kinds {
				// The end of one pod would be in step with the kubelet's looks, and so
				// would the start of the next.
				<-time.After(time.Duration(phase.Int64N(int64(relist))))
				d := start(b, bed.Application(ns, fmt.Sprintf("%s-%d", kind.name, round), kind.change))
				if round > 0 { // the first of each kind unpacks and caches
					took[i] = append(took[i], d)
				}
			}
		}
		for i, kind := range kinds {
			slices.Sort(took[i])
			b.Logf("%-20s median %s, all %v", kind.name, median(took[i]), took[i])
			b.ReportMetric(float64(median(took[i]).Milliseconds()), "ms-"+kind.name)
		}
		b.ReportMetric(float64((median(took[1]) - median(took[0])).Milliseconds()), "ms-sidecar-adds")
		b.ReportMetric(float64((median(took[2]) - median(took[3])).Milliseconds()), "ms-init-adds-to-idle")
	}
}

func median(sorted []time.Duration) time.Duration {
	return sorted[len(sorted)/2].Round(time.Millisecond)
}

// start runs a pod until its application reports, and removes it.
func start(b *testing.B, pod *corev1.Pod) time.Duration {
	b.Helper()
	began := time.Now()
	made := shared.Create(b, pod)
	shared.Running(b, made.Namespace, made.Name)
	report := shared.Reported(b, made.Namespace, made.Name, "app")
	now := int64(0)
	pods := shared.Client.CoreV1().Pods(made.Namespace)
	if err := pods.Delete(b.Context(), made.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		b.Fatal(err)
	}
	shared.Await(b, "the pod is gone", func(ctx context.Context) error {
		_, err := pods.Get(ctx, made.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is still there"), err)
	})
	return report.Began.Sub(began)
}
