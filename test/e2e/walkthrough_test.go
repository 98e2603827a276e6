//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/bed/app/report"
)

// theirs is the namespace that the walk-through's auth method lets in, with
// its pods mypod1 and mypod2 and no others.
const theirs = "my-namespace-a"

// login is what people type in a pod. The gateway's certificate is from an
// authority of its own, which no system knows.
const login = `gatepass auth --access-id p-abcdefghij12km \
    --access-type k8s \
    --gateway-url https://gatepass-gateway.gatepass-system.svc:8000 \
    --k8s-auth-config-name k8s-conf`

// The steps are those of the public documentation of the auth method: the same
// commands, names and order, and pods that are root as its image is.
func TestWalkThrough(t *testing.T) {
	t.Parallel()
	kubectl(t, "create", "namespace", theirs)
	removed(t, "namespace "+theirs, func(ctx context.Context) error {
		return shared.Client.CoreV1().Namespaces().Delete(ctx, theirs, metav1.DeleteOptions{})
	})
	removed(t, "the pods in "+theirs, removePods)
	if !t.Run("by hand, in pods that know nothing of Gatepass", walkByHand) {
		return
	}
	for _, mode := range modes() {
		if err := removePods(t.Context()); err != nil {
			t.Fatal(err)
		}
		awaitNoPods(t)
		t.Run("by annotation, mode "+mode, func(t *testing.T) { walkByAnnotation(t, mode) })
	}
}

func walkByHand(t *testing.T) {
	ca := kubectl(t, "get", "configmap", "gatepass-gateway-ca", "-n", bed.System, "-o", `jsonpath={.data.ca\.crt}`)
	for _, row := range []struct {
		pod     string
		allowed bool
	}{{"mypod1", true}, {"mypod2", true}, {"mypod3", false}} {
		t.Run(row.pod, func(t *testing.T) {
			kubectl(t, "run", row.pod, "--image="+bed.RootImage, "-n", theirs)
			pod := shared.Running(t, theirs, row.pod)
			_, problem, _ := shared.Enter(t, theirs, row.pod, login)
			if !strings.Contains(problem, `was issued by "CN=gatepass-gateway-ca", which is not among the trusted authorities`) || !strings.Contains(problem, "gatepass auth --ca-file") {
				t.Errorf("without the gateway's authority, it says: %s", problem)
			}
			out, problem, code := shared.Enter(t, theirs, row.pod, "cat > ca.crt <<END\n"+ca+"\nEND\n"+login+" --ca-file ca.crt")
			if !row.allowed {
				const why = "unauthorized: bound pod names mismatch; the gateway's administrators find in its audit log what would pass"
				if out != "" || code != 1 || !strings.Contains(problem, why) {
					t.Errorf("it ends with %d, and says %q and %s", code, out, problem)
				}
				return
			}
			token, found := strings.CutPrefix(out, "Authentication succeeded.\nToken: ")
			if !found || code != 0 {
				t.Fatalf("it ends with %d, and says %q and %s", code, out, problem)
			}
			checkWalker(t, pod, strings.TrimSpace(token), "k8s-conf")
		})
	}
}

// checkWalker fails the test unless a session is one of a pod of the
// walk-through, from one of the gateway's auth configs.
func checkWalker(t *testing.T, pod *corev1.Pod, session, authConfig string) {
	t.Helper()
	bed.CheckSession(t, pod, &report.Report{Session: session})
	claims, err := report.Claims(session)
	if err != nil {
		t.Fatal(err)
	}
	sub, ok := claims["sub_claims"].(map[string]any)
	if !ok {
		t.Fatalf("the session has no sub_claims: %v", claims)
	}
	for name, want := range map[string]string{"service_account_name": "default", "config_name": authConfig} {
		if got := fmt.Sprint(sub[name]); got != "["+want+"]" {
			t.Errorf("claim %s is %s, want [%s]", name, got, want)
		}
	}
}

func walkByAnnotation(t *testing.T, mode string) {
	for _, name := range []string{"mypod1", "mypod2", "mypod3"} {
		kubectl(t, "run", name, "--image="+bed.RootImage, "-n", theirs, "--annotations=gatepass.dev/inject=true",
			"--annotations=gatepass.dev/profile=walkthrough", "--annotations=gatepass.dev/timeout=5s", "--annotations=gatepass.dev/mode="+mode)
	}
	for _, name := range []string{"mypod1", "mypod2"} {
		pod := shared.Running(t, theirs, name)
		got := shared.Reported(t, theirs, name, name)
		bed.CheckSession(t, pod, got)
		checkWalker(t, pod, got.Session, "k8s-conf-annotated")
	}
	end := shared.AgentEnd(t, theirs, "mypod3")
	if took := end.FinishedAt.Sub(end.StartedAt.Time); end.ExitCode != 5 || took > timeout+leeway {
		t.Errorf("the agent of mypod3 ended with %d, after %s", end.ExitCode, took)
	}
	const why = "gatepass-agent: the gateway denied the login (401 Unauthorized): unauthorized: bound pod names mismatch"
	if shown := agentIn(t, kubectl(t, "describe", "pod", "-n", theirs, "mypod3")); !strings.Contains(shown, why) {
		t.Errorf("kubectl describe does not say why:\n%s", shown)
	}
	checkNotStarted(t, theirs, "mypod3")
}

func removePods(ctx context.Context) error {
	return shared.Client.CoreV1().Pods(theirs).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}, metav1.ListOptions{})
}

func awaitNoPods(t *testing.T) {
	t.Helper()
	shared.Await(t, "the pods in "+theirs+" are gone", func(ctx context.Context) error {
		list, err := shared.Client.CoreV1().Pods(theirs).List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("there are %d", len(list.Items))
		}
		return err
	})
}
