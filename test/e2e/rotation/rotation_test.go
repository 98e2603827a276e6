//go:build e2e

package rotation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/bed/app/report"
	"github.com/gatepass/gatepass/test/bed/app/watch"
)

// rotations is how many tokens are replaced.
const rotations = 3

// look is how often an agent looks whether its token was replaced, and a little
// for it to log in.
const look = 35 * time.Second

// Sessions of a quarter of an hour, which nothing but a new token makes the agent
// refresh here.
func TestATokenThatIsReplacedBringsAnotherSession(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar, bed.Annotate("log-level", "debug")))
	pod := shared.Running(t, ns, "app")
	for n := range rotations {
		before := identity(t, pod)
		began := time.Now()
		after := replaced(t, pod, before)
		took := time.Since(began)
		if after.token == before.token || after.folder == before.folder || !after.expires.After(before.expires) {
			t.Errorf("the kubelet went from folder %s to %s, and from a token that ends at %s to one that ends at %s",
				before.folder, after.folder, before.expires, after.expires)
		}
		renewed(t, pod, after)
		login := time.Since(began) - took
		if login > look {
			t.Errorf("another session came %s after the token", login)
		}
		t.Logf("rotation %d: another token after %s, another session %s later", n+1, took, login)
	}
	checkCalm(t, ns, "app")
}

// A kubelet that was restarted knows no tokens, and asks for others at once. It
// comes before what looks at the passing of time.
func TestARestartedKubeletReplacesTheToken(t *testing.T) {
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar))
	pod := shared.Running(t, ns, "app")
	before := identity(t, pod)
	if err := shared.RestartKubelet(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	after := replaced(t, pod, before)
	t.Logf("another token %s after the kubelet's start", time.Since(began))
	renewed(t, pod, after)
	checkCalm(t, ns, "app")
}

// A session lives for half a minute here, about as long as a token does.
func TestAnApplicationNoticesNothingOfTokensThatAreReplaced(t *testing.T) {
	t.Parallel()
	ns := shared.Namespace(t, nil)
	shared.Create(t, bed.Application(ns, "app", bed.Sidecar, bed.Annotate("profile", "short"), func(pod *corev1.Pod) {
		app := &pod.Spec.Containers[0]
		app.Args = []string{"watch", "80s"}
		app.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("300m")} // the rest is for others
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	}))
	pod := shared.Running(t, ns, "app")
	first := identity(t, pod)
	replaced(t, pod, replaced(t, pod, first))
	shared.Succeeded(t, ns, "app")
	lines := strings.Split(strings.TrimSpace(shared.Logs(t, ns, "app", "app")), "\n")
	var seen watch.Result
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &seen); err != nil {
		t.Fatal(err)
	}
	if len(seen.Problems) > 0 || len(seen.Tokens) < 4 {
		t.Errorf("%d sessions, and the application read: %q", len(seen.Tokens), seen.Problems)
	}
	t.Logf("%d reads, %d sessions", seen.Reads, len(seen.Tokens))
	checkCalm(t, ns, "app")
}

// projected is what the kubelet has put into the agent's volume.
type projected struct {
	token           string
	issued, expires time.Time
	// folder is where the link ..data leads.
	folder string
}

func identity(t *testing.T, pod *corev1.Pod) projected {
	t.Helper()
	folder, err := os.Readlink(bed.VolumeFile(pod, bed.IdentityVolume, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(bed.VolumeFile(pod, bed.IdentityVolume, "token"))
	if err != nil {
		t.Fatal(err)
	}
	issued, expires := life(t, string(content))
	return projected{string(content), issued, expires, folder}
}

// life is when a token was issued, and when it ends.
func life(t *testing.T, token string) (issued, expires time.Time) {
	t.Helper()
	claims, err := report.Claims(token)
	if err != nil {
		t.Fatal(err)
	}
	from, _ := claims["iat"].(float64)
	until, _ := claims["exp"].(float64)
	if from == 0 || until == 0 {
		t.Fatalf("a token without beginning or end: %v", claims)
	}
	return time.Unix(int64(from), 0), time.Unix(int64(until), 0)
}

// replaced waits until a pod's token is another.
func replaced(t *testing.T, pod *corev1.Pod, before projected) projected {
	t.Helper()
	shared.Await(t, "another projected token", func(context.Context) error {
		folder, err := os.Readlink(bed.VolumeFile(pod, bed.IdentityVolume, "..data"))
		if err == nil && folder == before.folder {
			err = errors.New("it is the same still")
		}
		return err
	})
	return identity(t, pod)
}

// renewed waits until a pod's session is younger than its projected token.
func renewed(t *testing.T, pod *corev1.Pod, token projected) {
	t.Helper()
	shared.Await(t, "a session that is younger than the token", func(context.Context) error {
		content, err := os.ReadFile(bed.VolumeFile(pod, bed.SessionVolume, "token"))
		if err != nil {
			return err
		}
		if issued, _ := life(t, string(content)); issued.Before(token.issued) {
			return fmt.Errorf("it was issued at %s, the token at %s", issued, token.issued)
		}
		return nil
	})
}

// checkCalm fails the test if an agent has had any trouble.
func checkCalm(t *testing.T, ns, name string) {
	t.Helper()
	for _, c := range shared.Get(t, ns, name).Status.InitContainerStatuses {
		if c.RestartCount > 0 {
			t.Errorf("%s was restarted %d times", c.Name, c.RestartCount)
		}
	}
	if log := shared.Logs(t, ns, name, bed.AgentContainer); strings.Contains(log, `"WARN"`) || strings.Contains(log, `"ERROR"`) {
		t.Errorf("the agent had trouble:\n%s", log)
	}
}
