//go:build e2e

package outage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
)

const (
	// enough are the pods of each kind that make the run worth something.
	enough = 500
	// interval is the time between two pods of a kind.
	interval = 125 * time.Millisecond
	// nthRuns is which of the pods run; the rest stay objects, which is all that
	// admission knows of a pod.
	nthRuns = 15
	// A refused pod is tried again after this time, doubled each time, as
	// controllers do.
	firstRetry, maxRetry = 250 * time.Millisecond, 2 * time.Second
)

// load creates annotated and plain pods, one of each every interval, and
// watches what becomes of them.
type load struct {
	ns   string
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	phase  *phase
	phases []*phase
	// problems are broken promises.
	problems []string
	// seen are the names of the pods that the watch has shown.
	seen map[string]bool
	made [2]int // by kind
}

// The kinds of pods.
const (
	plain = iota
	annotated
)

// phase counts what began during one kind of trouble.
type phase struct {
	name    string
	created [2]int
	refused int // tries
	waited  time.Duration
	slowest [2]time.Duration // of the tries that succeeded
	message string           // of a refusal
}

// startLoad begins to create pods.
func startLoad(t *testing.T) *load {
	t.Helper()
	l := &load{ns: shared.Namespace(t, nil), seen: map[string]bool{}}
	l.enter("calm before")
	ctx := t.Context()
	l.watch(ctx, t)
	creating, stop := context.WithCancel(ctx)
	l.stop = func() {
		stop()
		l.done.Wait()
	}
	t.Cleanup(l.stop)
	l.done.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for n := 0; creating.Err() == nil; n++ {
			for kind := range 2 {
				l.done.Go(func() { l.create(ctx, kind, n) })
			}
			select {
			case <-tick.C:
			case <-creating.Done():
			}
		}
	})
	return l
}

// pod is the nth of a kind.
func (l *load) pod(kind, n int) *corev1.Pod {
	name := [...]string{plain: "plain", annotated: "annotated"}[kind]
	pod := bed.Application(l.ns, fmt.Sprintf("%s-%d", name, n))
	if kind == plain {
		pod.Annotations = nil
	}
	if n%nthRuns == 0 {
		pod.Labels = map[string]string{"runs": name}
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
		pod.Spec.Containers[0].Args = []string{"once"}
		return pod
	}
	pod.Spec.SchedulerName = "nobody"
	return pod
}

// create makes a pod, again and again if it is an annotated one.
func (l *load) create(ctx context.Context, kind, n int) {
	began := time.Now()
	for wait := firstRetry; ; wait = min(2*wait, maxRetry) {
		tried, during := time.Now(), l.current()
		_, err := shared.Client.CoreV1().Pods(l.ns).Create(ctx, l.pod(kind, n), metav1.CreateOptions{})
		if ctx.Err() != nil {
			l.problem("pod %d of kind %d was not created before the end: %v", n, kind, err)
			return
		}
		if l.tried(during, kind, time.Since(tried), time.Since(began), err) {
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// tried notes how a try ended, and reports whether it was the last.
func (l *load) tried(p *phase, kind int, took, all time.Duration, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		p.created[kind]++
		l.made[kind]++
		p.slowest[kind] = max(p.slowest[kind], took)
		p.waited = max(p.waited, all)
		return true
	case kind == annotated:
		p.refused++
		p.message = err.Error()
		return false
	}
	l.problems = append(l.problems, fmt.Sprintf("%s: a plain pod was refused: %v", p.name, err))
	return true
}

func (l *load) problem(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

func (l *load) current() *phase {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.phase
}

func (l *load) enter(name string) *phase {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.phase = &phase{name: name}
	l.phases = append(l.phases, l.phase)
	return l.phase
}

// during makes trouble, for as long as it takes to create some pods at least.
func (l *load) during(t *testing.T, name string, trouble func(p *phase)) *phase {
	t.Helper()
	p := l.enter(name)
	trouble(p)
	shared.Await(t, "pods are created: "+name, func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if min(p.created[plain], p.created[annotated]+p.refused) < 10 {
			return fmt.Errorf("%+v", *p)
		}
		return nil
	})
	return p
}

// awaitEnough waits until so many pods were created that the run proves
// something.
func (l *load) awaitEnough(t *testing.T) {
	t.Helper()
	shared.Await(t, "enough pods were created", func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if min(l.made[plain], l.made[annotated]) < enough {
			return fmt.Errorf("%v", l.made)
		}
		return nil
	})
}

// refusals is how many tries were refused in a phase so far.
func (l *load) refusals(p *phase) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.refused
}

// watch sees every pod of the namespace from its creation on.
func (l *load) watch(ctx context.Context, t *testing.T) {
	t.Helper()
	none, err := shared.Client.CoreV1().Pods(l.ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := shared.WatchPods(ctx, l.ns, "", none.ResourceVersion)
	if err != nil {
		t.Fatal(err)
	}
	watching := make(chan struct{})
	t.Cleanup(func() {
		w.Stop()
		<-watching
	})
	go func() {
		defer close(watching)
		for event := range w.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				l.problem("the watch ended early: %v", event.Object)
				return
			}
			l.see(pod)
		}
	}()
}

func (l *load) see(pod *corev1.Pod) {
	_, asks := pod.Annotations["gatepass.dev/inject"]
	has := slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == bed.AgentContainer })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[pod.Name] = true
	if asks != has {
		l.problems = append(l.problems, fmt.Sprintf("pod %s: asks for a session: %t, has an agent: %t", pod.Name, asks, has))
	}
}

// finish stops creating, waits for those that are still refused, and
// checks what the watch has seen.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.stop()
	shared.Await(t, "the watch has seen every pod", func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if n := len(l.seen); n < l.made[plain]+l.made[annotated] {
			return fmt.Errorf("%d of %v", n, l.made)
		}
		return nil
	})
}

// broken returns the promises that were not kept.
func (l *load) broken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.problems)
}

// print tells how each phase went.
func (l *load) print(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%-26s %9s %9s %12s %14s %14s", "phase", "annotated", "refusals", "longest wait", "slowest, plain", "slowest, annot")
	for _, p := range l.phases {
		if p.created[plain]+p.refused == 0 {
			continue // the load had not begun
		}
		t.Logf("%-26s %9d %9d %12s %14s %14s", p.name, p.created[annotated], p.refused, p.waited.Round(time.Millisecond),
			p.slowest[plain].Round(time.Millisecond), p.slowest[annotated].Round(time.Millisecond))
		if p.message != "" {
			t.Logf("    %s", p.message)
		}
	}
	t.Logf("%d annotated and %d plain pods were created, %d pods seen by the watch", l.made[annotated], l.made[plain], len(l.seen))
}

// ran checks the pods that really ran.
func (l *load) ran(t *testing.T, kind string) {
	t.Helper()
	var pods []corev1.Pod
	shared.Await(t, kind+" pods have ended well", func(ctx context.Context) error {
		list, err := shared.Client.CoreV1().Pods(l.ns).List(ctx, metav1.ListOptions{LabelSelector: "runs=" + kind})
		if err != nil {
			return err
		}
		pods = list.Items
		var errs []error
		for _, pod := range pods {
			if pod.Status.Phase != corev1.PodSucceeded {
				errs = append(errs, fmt.Errorf("%s: %s", pod.Name, bed.Describe(&pod)))
			}
		}
		return errors.Join(errs...)
	})
	for _, pod := range pods {
		report := shared.Reported(t, l.ns, pod.Name, "app")
		if kind == "annotated" {
			bed.CheckSession(t, &pod, report)
		} else if report.Session != "" {
			t.Errorf("plain pod %s has a session", pod.Name)
		}
	}
	t.Logf("%d %s pods ran", len(pods), kind)
	if len(pods) < 30 {
		t.Errorf("only %d %s pods ran", len(pods), kind)
	}
}
