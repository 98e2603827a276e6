//go:build e2e

package outage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/images"
	"github.com/gatepass/gatepass/test/repo"
	"github.com/gatepass/gatepass/test/skew"
)

// off is how wrong clocks are here. The processes' monotonic clocks are right,
// as they are in life.
const off = 10 * time.Minute

// Images of programs whose clock is off.
const (
	agentAhead    = "gatepass.test/agent:ahead"
	agentBehind   = "gatepass.test/agent:behind"
	gatewayAhead  = "gatepass.test/gateway:ahead"
	gatewayBehind = "gatepass.test/gateway:behind"
)

func importAgents(t *testing.T) {
	t.Helper()
	importSkewed(t, "gatepass-agent", config.AgentPath, map[string]time.Duration{agentAhead: off, agentBehind: -off})
}

// importSkewed makes images of a program and gives them to the node.
func importSkewed(t *testing.T, program, path string, refs map[string]time.Duration) {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	for ref, ahead := range refs {
		file := filepath.Join(t.TempDir(), program)
		if err := skew.Build(t.Context(), skew.Options{Root: root, Program: "./cmd/" + program, Ahead: ahead, File: file}); err != nil {
			t.Fatal(err)
		}
		built, err := images.Build(t.Context(), images.Options{
			Image: images.Image{
				Name: program, Ref: ref, Title: program, Version: "skewed",
				Files: []images.File{{Path: path, Source: file, Mode: 0o555}}, Entrypoint: []string{path},
			},
			Root: root, Dir: t.TempDir(), Platforms: []images.Platform{{OS: "linux", Arch: runtime.GOARCH}},
		})
		if err == nil {
			err = shared.Import(t.Context(), built.File)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// checkSessionsFromThePast starts pods whose node's clock is ahead by more than a
// session lasts. They work, with a warning: which clock is wrong the agent can't
// know. A sidecar goes by the life of a session, not by its end, or it would do
// nothing but log in.
func checkSessionsFromThePast(t *testing.T, ns string) {
	t.Helper()
	began := time.Now()
	once := shared.Create(t, bed.Application(ns, "past-init", bed.Annotate("profile", "node-ahead")))
	fresh := shared.Create(t, bed.Application(ns, "past-sidecar", bed.Annotate("profile", "node-ahead"), bed.Sidecar))
	starts(t, []*corev1.Pod{once, fresh})
	for _, pod := range []*corev1.Pod{once, fresh} {
		if log := shared.Logs(t, ns, pod.Name, bed.AgentContainer); !strings.Contains(log, "the clocks of this node and of the gateway disagree") {
			t.Errorf("pod %s does not warn: %s", pod.Name, log)
		}
	}
	logins := 0
	shared.Await(t, "the sidecar's session is refreshed", func(ctx context.Context) (err error) {
		if logins, err = countLogins(ctx, fresh); err == nil && logins < 2 {
			err = fmt.Errorf("%d logins", logins)
		}
		return err
	})
	took := time.Since(began)
	t.Logf("the second login with sessions of 30 s came after %s", took.Round(time.Second))
	// Two thirds of 30 s, give or take a tenth.
	if logins > 2 || took < 18*time.Second {
		t.Errorf("%d logins in %s with sessions of 30 s", logins, took)
	}
}

// countLogins is how often a pod was let in, by the gateways' audit logs.
func countLogins(ctx context.Context, pod *corev1.Pod) (int, error) {
	replicas, err := shared.Replicas(ctx, bed.Gateway)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, gateway := range replicas {
		log, err := shared.Client.CoreV1().Pods(bed.System).GetLogs(gateway.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(log)) {
			var event struct {
				Result string `json:"result"`
				PodUID string `json:"pod_uid"`
			}
			if json.Unmarshal([]byte(line), &event) == nil && event.Result == "granted" && event.PodUID == string(pod.UID) {
				n++
			}
		}
	}
	return n, nil
}

// setImage replaces the gateway's image, and returns what takes that back.
func setImage(t *testing.T, image string) (restore func()) {
	t.Helper()
	set := func(image string) {
		if _, _, err := shared.Kubectl(context.Background(), "set", "image", "-n", bed.System,
			"deployment/"+bed.Gateway.Deployment(), string(bed.Gateway)+"="+image); err != nil {
			t.Error(err)
		}
	}
	old := gateways(t)[0].Spec.Containers[0].Image
	set(image)
	return func() {
		set(old)
		if err := shared.RolledOut(context.Background(), bed.System, bed.Gateway.Deployment()); err != nil {
			t.Error(err)
		}
	}
}

// awaitOnly waits until no other gateway is left: one that is told to stop goes
// on for some seconds, and on a busy node is found for a while.
func awaitOnly(t *testing.T, image string) {
	t.Helper()
	shared.Await(t, "no other gateway is left", func(ctx context.Context) error {
		pods, err := shared.Client.CoreV1().Pods(bed.System).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=" + string(bed.Gateway)})
		if err != nil {
			return err
		}
		for i := range pods.Items {
			if pods.Items[i].Spec.Containers[0].Image != image {
				return fmt.Errorf("%s is still there", pods.Items[i].Name)
			}
		}
		return nil
	})
}

func TestAGatewayWhoseClockIsOff(t *testing.T) {
	importSkewed(t, "gatepass-gateway", "/gatepass-gateway", map[string]time.Duration{gatewayAhead: off, gatewayBehind: -off})
	ns := shared.Namespace(t, nil)
	t.Run("ahead", func(t *testing.T) {
		// Its certificate is valid from ten minutes from now.
		running := shared.Create(t, bed.Application(ns, "runs", bed.Annotate("profile", "short"), bed.Sidecar))
		starts(t, []*corev1.Pod{running})
		restore := setImage(t, gatewayAhead)
		t.Cleanup(restore)
		if err := shared.RolledOut(t.Context(), bed.System, bed.Gateway.Deployment()); err != nil {
			t.Fatal(err)
		}
		awaitOnly(t, gatewayAhead)
		row{profile: "default", code: exitUntrusted, cause: "correct the clock of this node or of the issuer"}.check(t, ns)
		shared.AgentSays(t, ns, running.Name, "the session can't be refreshed; the last one stays")
		restore()
		shared.AgentSays(t, ns, running.Name, "the session is refreshed again")
		starts(t, []*corev1.Pod{shared.Create(t, bed.Application(ns, "after"))})
	})
	t.Run("behind", func(t *testing.T) {
		// The gateway's authority is younger than ten minutes. So such a replica does
		// not become ready, and the others stay.
		t.Cleanup(setImage(t, gatewayBehind))
		shared.Await(t, "the new replica is not ready because of its clock", func(ctx context.Context) error {
			pods, err := shared.Replicas(ctx, bed.Gateway)
			if err != nil {
				return err
			}
			for _, pod := range pods {
				if pod.Spec.Containers[0].Image != gatewayBehind || pod.Status.PodIP == "" {
					continue
				}
				status, text, err := probe(ctx, "http://"+pod.Status.PodIP+":8081/readyz")
				if err != nil {
					return err
				}
				if status == http.StatusServiceUnavailable && strings.Contains(text, "is before") {
					t.Logf("%d %s", status, text)
					return nil
				}
				return fmt.Errorf("%d %s", status, text)
			}
			return errors.New("there is none")
		})
		starts(t, []*corev1.Pod{shared.Create(t, bed.Application(ns, "during"))})
	})
}

func probe(ctx context.Context, url string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), errors.Join(err, res.Body.Close())
}
