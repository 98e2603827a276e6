//go:build e2e

package e2e_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatepass/gatepass/test/bed"
)

func TestKubectlDebug(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode func(*corev1.Pod)) {
		ns := shared.Namespace(t, nil)
		shared.Create(t, bed.Application(ns, "app", mode, user(10001)))
		shared.Running(t, ns, "app")
		debug := func(t *testing.T, args ...string) {
			t.Helper()
			kubectl(t, append([]string{"debug", "-n", ns, "app", "--image=" + bed.AppImage, "--profile=general"}, args...)...)
		}
		t.Run("an ephemeral container runs", func(t *testing.T) {
			debug(t, "-c", "debugger", "--", "/app", "once")
			pod := debuggerEnds(t, ns, "debugger")
			got := shared.Reported(t, ns, "app", "debugger")
			if got.TokenFile != "" {
				t.Errorf("it was told of a session at %s", got.TokenFile)
			}
			bed.CheckExposure(t, got)
			checkRestarts(t, pod)
		})
		t.Run("an ephemeral container sees the processes of its target", func(t *testing.T) {
			debug(t, "-c", "beside-app", "--target=app", "--", "/bin/busybox", "cat", "/proc/1/cmdline")
			debuggerEnds(t, ns, "beside-app")
			if got := shared.Logs(t, ns, "app", "beside-app"); got != "/app\x00" {
				t.Errorf("process 1 is %q", got)
			}
		})
		t.Run("a copy of the pod has a session of its own", func(t *testing.T) {
			debug(t, "--copy-to=copy", "--container=app", "--", "/app")
			pod := shared.Running(t, ns, "copy")
			got := shared.Reported(t, ns, "copy", "app")
			bed.CheckSession(t, pod, got)
		})
	})
}

// The agent of mode sidecar lives, and can be looked at; its token can't.
func TestADebuggerBesideTheAgentSeesNoToken(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar))
	shared.Running(t, ns, "app")
	kubectl(t, "debug", "-n", ns, "app", "--image="+bed.AppImage, "--profile=general", "-c", "debugger", "--target="+bed.AgentContainer, "--", "/app", "once")
	debuggerEnds(t, ns, "debugger")
	bed.CheckExposure(t, shared.Reported(t, ns, "app", "debugger"))
}

// debuggerEnds waits until an ephemeral container has ended well.
func debuggerEnds(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	return shared.WaitFor(t, ns, "app", "has been debugged", func(pod *corev1.Pod) bool {
		for _, c := range pod.Status.EphemeralContainerStatuses {
			if c.Name != name || c.State.Terminated == nil {
				continue
			}
			if c.State.Terminated.ExitCode != 0 {
				t.Fatalf("container %s ended with %d: %s", name, c.State.Terminated.ExitCode, shared.Logs(t, ns, "app", name))
			}
			return true
		}
		return false
	})
}
