//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/gatetest/trespass"
	"github.com/gatepass/gatepass/test/bed"
)

// A process of the agent's user and group, in a pod whose processes see each other,
// tries without a pause to get into the agent: while its container starts again, and
// while processes of the agent's program start in that container, as the postStart
// hook does.
func TestWhoSharesTheAgentsProcessNamespace(t *testing.T) {
	t.Parallel()
	const (
		starts   = 40
		restarts = 2
	)
	for _, row := range []struct {
		name   string
		change func(*corev1.Pod)
		gets   bool
	}{
		{"does not get into it, of its user", user(10001), false},
		{"does not get into it, being root", user(0), false},
		{"gets into one that its user can read", func(pod *corev1.Pod) {
			user(10001)(pod)
			bed.Annotate("profile", "readable-agent")(pod)
		}, true},
		{"gets into it, being root with SYS_PTRACE", func(pod *corev1.Pod) {
			user(0)(pod)
			pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_PTRACE"}}}
		}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ns := shared.Namespace(t, nil)
			pod := shared.Create(t, bed.Application(ns, "app", bed.Sidecar, func(pod *corev1.Pod) {
				podSecurity(pod).RunAsGroup = new(int64(65532))
				pod.Spec.ShareProcessNamespace = new(true)
				pod.Spec.Containers[0].Args = []string{"trespass"}
			}, row.change))
			shared.Running(t, ns, pod.Name)
			shared.Reported(t, ns, pod.Name, "app") // it looks from now on
			inApp := func(args ...string) {
				kubectl(t, append([]string{"exec", "-n", ns, pod.Name, "-c", "app", "--", "/bin/busybox"}, args...)...)
			}
			for n := range restarts {
				inApp("killall", "-TERM", "gatepass-agent")
				shared.WaitFor(t, ns, pod.Name, "has an agent that was started again", func(pod *corev1.Pod) bool {
					return slices.ContainsFunc(pod.Status.InitContainerStatuses, func(c corev1.ContainerStatus) bool {
						return c.Name == bed.AgentContainer && int(c.RestartCount) > n && c.State.Running != nil && c.Started != nil && *c.Started
					})
				})
			}
			group, ctx := errgroup.WithContext(t.Context())
			group.SetLimit(4)
			for range starts {
				group.Go(func() error {
					_, _, err := shared.Kubectl(ctx, "exec", "-n", ns, pod.Name, "-c", bed.AgentContainer, "--", config.AgentPath, config.WaitCommand)
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
			inApp("killall", "-USR1", "app")
			found := trespassed(t, ns, pod.Name)
			t.Logf("%d starts: %+v", starts+restarts, found)
			if found.Seen["gatepass-agent"] < starts/10 {
				t.Errorf("of %d starts it saw %d", starts+restarts, found.Seen["gatepass-agent"])
			}
			if got := len(found.Into) > 0; got != row.gets {
				t.Errorf("it got into %v", found.Into)
			}
			if row.gets && found.Into["root"]+found.Into["cwd"]+found.Into["task"] == 0 {
				t.Errorf("it read no token: %v", found.Into)
			}
		})
	}
}

// trespassed is what the application has said of its tries.
func trespassed(t *testing.T, ns, name string) (r trespass.Report) {
	t.Helper()
	shared.WaitFor(t, ns, name, "has told what it got into", func(*corev1.Pod) bool {
		_, rest, _ := strings.Cut(shared.Logs(t, ns, name, "app"), "\n")
		line, _, whole := strings.Cut(rest, "\n")
		if !whole {
			return false
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(fmt.Errorf("%q: %w", line, err))
		}
		return true
	})
	return r
}
