package cluster_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/servers"
)

// readyWithin is what a person is promised on an idle machine. Tests of
// several packages share the processors, so what fails a test is the triple.
const readyWithin = 10 * time.Second

var shared *cluster.Cluster

func TestMain(m *testing.M) { os.Exit(cluster.Main(m, cluster.Options{}, &shared)) }

const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"mypod1"},
"spec":{"containers":[{"name":"app","image":"example.com/app:v1"}]}}`

// namespace makes one for a test.
func namespace(t *testing.T) string {
	t.Helper()
	ns, err := shared.CreateNamespace(t.Context(), "cluster-test", nil)
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

func TestTheControlPlaneIsReadyInTime(t *testing.T) {
	t.Logf("ready after %s", shared.Took)
	if shared.Took > 3*readyWithin {
		t.Errorf("ready after %s; expected at most %s on a busy machine", shared.Took, 3*readyWithin)
	}
}

func TestTheChosenVersionRuns(t *testing.T) {
	if os.Getenv(servers.EnvAssets) != "" {
		t.Log("the binaries are the user's own; any version will do")
		return
	}
	want := os.Getenv(servers.EnvKubernetes)
	if want == "" {
		want = servers.DefaultKubernetes
	}
	got, err := shared.Version()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got, want+".") {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTwoControlPlanesSideBySide(t *testing.T) {
	clusters := make([]*cluster.Cluster, 2)
	group, ctx := errgroup.WithContext(t.Context())
	for i := range clusters {
		group.Go(func() (err error) {
			clusters[i], err = cluster.Start(ctx, cluster.Options{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for i, c := range clusters {
		name := fmt.Sprintf("only-in-%d", i)
		if _, _, err := c.Kubectl(t.Context(), "create", "namespace", name); err != nil {
			t.Error(err)
		}
		other := clusters[1-i]
		if _, _, err := other.Kubectl(t.Context(), "get", "namespace", name); err == nil {
			t.Errorf("%s exists in the other control plane", name)
		}
		if len(c.PIDs()) != 2 {
			t.Errorf("control plane %d runs %v; want two processes", i, c.PIDs())
		}
		for _, pid := range c.PIDs() {
			pids = append(pids, pid)
		}
	}
	for i, c := range clusters {
		folder := filepath.Dir(c.Kubeconfig)
		if err := c.Stop(); err != nil {
			t.Errorf("stop control plane %d: %v", i, err)
		}
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the files of control plane %d are still there", i)
		}
	}
	for _, pid := range pids {
		if process.Alive(pid) {
			t.Errorf("process %d outlived Stop", pid)
		}
	}
}

func TestStartReportsWhyAServerDoesNotStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{APIServerArgs: map[string][]string{"no-such-flag": {"x"}}})
	if err == nil {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		t.Fatal("started with a flag that does not exist")
	}
	if !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("the error does not name the cause: %v", err)
	}
}

func TestKubectlReportsItsExitCodeAndMessage(t *testing.T) {
	_, stderr, err := shared.Kubectl(t.Context(), "get", "pod", "nobody", "--namespace", namespace(t))
	failed, ok := errors.AsType[*cluster.KubectlError](err)
	if !ok || failed.ExitCode != 1 {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(stderr, `pods "nobody" not found`) || failed.Stderr != stderr {
		t.Errorf("stderr is %q, in the error %q", stderr, failed.Stderr)
	}
}

func TestPodsGetWhatServiceAccountAdmissionAdds(t *testing.T) {
	ns := namespace(t)
	if _, _, err := shared.KubectlInput(t.Context(), pod, "create", "--namespace", ns, "-f", "-"); err != nil {
		t.Fatal(err)
	}
	out, _, err := shared.Kubectl(t.Context(), "get", "pod", "mypod1", "--namespace", ns, "-o", "jsonpath={.spec.serviceAccountName} {.spec.volumes[0].name}")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out, "default kube-api-access-") {
		t.Errorf("got %q", out)
	}
}

func TestRestrictedNamespacesRefusePodsThatAreNot(t *testing.T) {
	ns, err := shared.CreateNamespace(t.Context(), "restricted", map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	if err != nil {
		t.Fatal(err)
	}
	_, stderr, err := shared.KubectlInput(t.Context(), pod, "create", "--namespace", ns, "-f", "-")
	if err == nil || !strings.Contains(stderr, "violates PodSecurity") {
		t.Errorf("got %v", err)
	}
}

func TestPodTokenIsBoundToThePod(t *testing.T) {
	ns := namespace(t)
	if _, _, err := shared.KubectlInput(t.Context(), pod, "create", "--namespace", ns, "-f", "-"); err != nil {
		t.Fatal(err)
	}
	request := cluster.TokenRequest{Namespace: ns, ServiceAccount: "default", Pod: "mypod1", Audience: "gatepass", Seconds: 600}
	before := time.Now()
	token, err := shared.PodToken(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Audience   []string `json:"aud"`
		Expiry     int64    `json:"exp"`
		Kubernetes struct {
			Namespace string `json:"namespace"`
			Pod       struct {
				Name string `json:"name"`
				UID  string `json:"uid"`
			} `json:"pod"`
		} `json:"kubernetes.io"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if got := claims.Kubernetes; got.Namespace != ns || got.Pod.Name != "mypod1" || got.Pod.UID == "" {
		t.Errorf("bound to %+v", got)
	}
	if len(claims.Audience) != 1 || claims.Audience[0] != "gatepass" {
		t.Errorf("audience %v", claims.Audience)
	}
	if left := time.Unix(claims.Expiry, 0).Sub(before); left < 595*time.Second || left > 605*time.Second {
		t.Errorf("valid for %s; want 600s", left)
	}

	t.Run("a token for a pod that does not exist is refused", func(t *testing.T) {
		request.Pod = "nobody"
		if _, err := shared.PodToken(t.Context(), request); err == nil || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("got %v", err)
		}
	})
}
