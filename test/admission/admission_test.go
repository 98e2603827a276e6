package admission_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/manifests"
)

// auditPolicy writes down what webhooks noted about pods.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create]
  resources: [{group: "", resources: [pods]}]
- level: None
`

func dryRun(t testing.TB, pod object) (object, []string, error) {
	t.Helper()
	return shared.create(t.Context(), shared.namespace, pod, true)
}

// accept is dryRun for pods that must be created.
func accept(t testing.TB, pod object) object {
	t.Helper()
	created, _, err := dryRun(t, pod)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// admissions reads how many reviews the webhook answered in all, or with one
// reason.
func admissions(t testing.TB, reason string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, shared.webhook.Metrics+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, m := range regexp.MustCompile(`(?m)^gatepass_webhook_admissions_total\{reason="([^"]*)",result="[^"]*"\} (\d+)$`).FindAllStringSubmatch(string(page), -1) {
		if reason == "" || m[1] == reason {
			n, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

func TestPodsGetOurAdditionsAndNothingElse(t *testing.T) {
	pods, err := loadPods()
	if err != nil {
		t.Fatal(err)
	}
	for name, pod := range pods {
		t.Run(name, func(t *testing.T) {
			before := settle(t, shared.plain[name])
			injected := accept(t, pod)
			if !hasAgent(injected) {
				t.Fatal("there is no agent in the pod")
			}
			after := settle(t, injected)
			strip(after, before)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("something changed outside of the additions (-without +with the webhook):\n%s", diff)
			}
			t.Run("and nothing when it is injected again", func(t *testing.T) {
				first := settle(t, injected)
				reviewed, unchanged := admissions(t, ""), admissions(t, "already-injected")
				second := settle(t, accept(t, clone(t, first)))
				if diff := cmp.Diff(first, second); diff != "" {
					t.Errorf("the second time changed something:\n%s", diff)
				}
				await.Until(t, "the review to be counted", func() bool { return admissions(t, "") > reviewed })
				if admissions(t, "already-injected") <= unchanged {
					t.Error("the second review had a patch")
				}
			})
		})
	}
}

func TestTheAgentComesFirstAndOthersGetTheirMounts(t *testing.T) {
	pod := accept(t, asking("mypod1"))
	spec := at(pod, "spec")
	if got := objects(spec["initContainers"])[0]["name"]; got != "gatepass-agent" {
		t.Errorf("the first init container is %v", got)
	}
	app := named(spec["containers"], "app")
	want := object{"name": "gatepass-session", "mountPath": "/var/run/gatepass", "readOnly": true}
	if diff := cmp.Diff(want, named(app["volumeMounts"], "gatepass-session")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(object{"name": "GATEPASS_TOKEN_FILE", "value": "/var/run/gatepass/token"}, named(app["env"], "GATEPASS_TOKEN_FILE")); diff != "" {
		t.Error(diff)
	}
	if got := at(pod, "metadata", "annotations")["gatepass.dev/status"]; got != "injected" {
		t.Errorf("status %v", got)
	}
}

// The agent needs the projected token and the session's folder. The
// ServiceAccount admission plugin runs again after the webhook, and would give
// every container the Kubernetes API's token, the agent included.
func TestTheAgentSeesNoOtherToken(t *testing.T) {
	for name, pod := range map[string]object{
		"mode init":    asking("mypod1"),
		"mode sidecar": annotated("mypod1", map[string]string{"gatepass.dev/inject": "true", "gatepass.dev/mode": "sidecar"}),
	} {
		t.Run(name, func(t *testing.T) {
			spec := at(accept(t, pod), "spec")
			for _, m := range objects(named(spec["initContainers"], "gatepass-agent")["volumeMounts"]) {
				if m["name"] != "gatepass-session" && m["name"] != "gatepass-identity" {
					t.Errorf("the agent's container mounts %v at %v", m["name"], m["mountPath"])
				}
			}
			for _, c := range objects(spec["containers"]) {
				if named(c["volumeMounts"], "gatepass-identity") != nil {
					t.Errorf("container %v mounts the agent's token", c["name"])
				}
			}
		})
	}
}

func TestALabelAsksAsWell(t *testing.T) {
	pod := annotated("mypod1", nil)
	at(pod, "metadata")["labels"] = object{"gatepass.dev/inject": "true"}
	if !hasAgent(accept(t, pod)) {
		t.Error("there is no agent in the pod")
	}
}

func TestPodsOfControllersAreInjected(t *testing.T) {
	pod := asking("")
	delete(at(pod, "metadata"), "name")
	at(pod, "metadata")["generateName"] = "application-5d4f8c7b9-"
	injected := accept(t, pod)
	if name, _ := at(injected, "metadata")["name"].(string); !hasAgent(injected) || !strings.HasPrefix(name, "application-5d4f8c7b9-") {
		t.Errorf("pod %q, agent: %t", name, hasAgent(injected))
	}
}

func TestAPodThatCantBeRightIsRefusedWithTheFix(t *testing.T) {
	for _, row := range []struct {
		name        string
		annotations map[string]string
		says        string
	}{
		{"a misspelt key", map[string]string{"gatepass.dev/injct": "true"}, "annotation gatepass.dev/injct is not known; did you mean gatepass.dev/inject?"},
		{"a misspelt value", map[string]string{"gatepass.dev/inject": "ture"}, `"ture" is neither true nor false`},
		{"an unknown profile", map[string]string{"gatepass.dev/inject": "true", "gatepass.dev/profile": "defauld"}, "did you mean default?"},
		{"an unknown container", map[string]string{"gatepass.dev/inject": "true", "gatepass.dev/containers": "ap"}, "did you mean app?"},
		{"a setting without the wish", map[string]string{"gatepass.dev/mode": "init"}, `add the annotation gatepass.dev/inject: "true"`},
		{"two mistakes", map[string]string{"gatepass.dev/inject": "true", "gatepass.dev/mode": "x", "gatepass.dev/timeout": "y"}, "2 problems"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, _, err := dryRun(t, annotated("mypod1", row.annotations))
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `admission webhook "inject.gatepass.dev" denied the request`) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("kubectl prints it", func(t *testing.T) {
		raw, err := json.Marshal(annotated("mypod1", map[string]string{"gatepass.dev/injct": "true"}))
		if err != nil {
			t.Fatal(err)
		}
		_, stderr, err := shared.cluster.KubectlInput(t.Context(), string(raw), "create", "-n", shared.namespace, "-f", "-")
		if err == nil || !strings.Contains(stderr, "did you mean gatepass.dev/inject?") {
			t.Errorf("kubectl says %q (%v)", stderr, err)
		}
	})
}

func TestWarningsReachTheClient(t *testing.T) {
	_, warned, err := dryRun(t, annotated("mypod1", map[string]string{"gatepass.dev/inject": "true", "gatepass.dev/status": "done"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], `gatepass: annotation gatepass.dev/status="done" means nothing`) {
		t.Errorf("warned of %q", warned)
	}
}

func TestOtherPodsAreNotSentToTheWebhook(t *testing.T) {
	ctx := t.Context()
	before := admissions(t, "")
	plain := annotated("mypod1", map[string]string{"example.com/inject": "true"})
	if hasAgent(accept(t, plain)) {
		t.Error("a plain pod has an agent")
	}
	for _, namespace := range []string{"kube-system", manifests.Namespace} {
		if _, _, err := shared.create(ctx, namespace, asking("mypod1"), true); !apierrors.IsForbidden(err) {
			t.Errorf("a pod that asks in %s: %v", namespace, err)
		}
		if _, _, err := shared.create(ctx, namespace, annotated("mypod1", nil), true); err != nil {
			t.Errorf("a plain pod in %s: %v", namespace, err)
		}
	}
	// A review that does come is counted after the others.
	accept(t, asking("mypod1"))
	await.Until(t, "the review to be counted", func() bool { return admissions(t, "") > before })
	if got := admissions(t, "") - before; got != 1 {
		t.Errorf("%d reviews; want the one that asked", got)
	}
}

func TestAnOutageStopsNobodyWhoDidNotAsk(t *testing.T) {
	shared.forwarder.lead(0)
	defer shared.forwarder.lead(shared.webhook.Port)
	accept(t, annotated("mypod1", nil))
	accept(t, annotated("mypod1", map[string]string{"gatepass.example.com/inject": "true"}))
	for _, pod := range []object{asking("mypod1"), annotated("mypod1", map[string]string{"gatepass.dev/injct": "true"})} {
		if _, _, err := dryRun(t, pod); !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), `failed calling webhook "inject.gatepass.dev"`) {
			t.Errorf("an annotated pod during the outage: %v", err)
		}
	}
	shared.forwarder.lead(shared.webhook.Port)
	if !hasAgent(accept(t, asking("mypod1"))) {
		t.Error("there is no agent in a pod after the outage")
	}
}

func TestInjectedPodsPassTheRestrictedStandard(t *testing.T) {
	namespace, err := shared.cluster.CreateNamespace(t.Context(), "restricted", map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"init", "sidecar"} {
		pod := annotated("mypod1", map[string]string{"gatepass.dev/inject": "true", "gatepass.dev/mode": mode})
		spec := at(pod, "spec")
		spec["securityContext"] = object{"runAsNonRoot": true, "seccompProfile": object{"type": "RuntimeDefault"}}
		objects(spec["containers"])[0]["securityContext"] = object{"allowPrivilegeEscalation": false, "capabilities": object{"drop": []any{"ALL"}}}
		injected, warned, err := shared.create(t.Context(), namespace, pod, true)
		violates := slices.ContainsFunc(warned, func(w string) bool { return strings.Contains(w, "PodSecurity") })
		if err != nil || violates || !hasAgent(injected) {
			t.Errorf("mode %s: %v, warned of %q", mode, err, warned)
		}
	}
}

func TestDecisionsAreInTheAuditLog(t *testing.T) {
	accept(t, asking("audited-injected"))
	if _, _, err := dryRun(t, annotated("audited-denied", map[string]string{"gatepass.dev/injct": "true"})); err == nil {
		t.Fatal("a misspelt pod was created")
	}
	for name, want := range map[string]map[string]string{
		"audited-injected": {"result": "injected", "reason": "injected", "profile": "default", "mode": "init"},
		"audited-denied":   {"result": "denied", "reason": "unknown-key"},
	} {
		await.Until(t, "the audit log to tell of "+name, func() bool { return auditOf(t, name) != nil })
		got := auditOf(t, name)
		for key, value := range want {
			if got["inject.gatepass.dev/"+key] != value {
				t.Errorf("%s: annotations %v; want %s=%s", name, got, key, value)
			}
		}
	}
}

// auditOf returns the audit annotations of the pod's creation.
func auditOf(t testing.TB, name string) map[string]string {
	t.Helper()
	log, err := os.Open(shared.audit)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			ObjectRef   struct{ Name, Namespace string }
			Annotations map[string]string
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			continue // the last line may be half written
		}
		if event.ObjectRef.Name == name && event.ObjectRef.Namespace == shared.namespace {
			return event.Annotations
		}
	}
	return nil
}

var errNoAgent = errors.New("a pod was created without an agent")

// TestARestartUnderLoadLosesNothing replaces the webhook as a rolling update
// does, while pods are created all the time.
func TestARestartUnderLoadLosesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	created := make(chan error, 64)
	for worker := range 4 {
		go func() {
			for n := 0; ctx.Err() == nil; n++ {
				pod, _, err := shared.create(ctx, shared.namespace, asking(fmt.Sprintf("load-%d-%d", worker, n)), true)
				if err == nil && !hasAgent(pod) {
					err = errNoAgent
				}
				if ctx.Err() != nil {
					break
				}
				created <- err
			}
			created <- context.Canceled
		}()
	}
	total, failed := 0, 0
	count := func(n int) {
		t.Helper()
		for range n {
			total++
			if err := <-created; errors.Is(err, errNoAgent) {
				t.Fatal(err)
			} else if err != nil {
				failed++
				t.Logf("a pod was refused: %v", err)
			}
		}
	}
	for range 3 {
		count(50)
		options := shared.options
		options.ExtraArgs = []string{"--shutdown-delay=1s"}
		next, err := shared.product.StartWebhook(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		shared.forwarder.lead(next.Port)
		old := shared.webhook
		shared.webhook = next
		if err := old.Terminate(); err != nil {
			t.Fatal(err)
		}
		for ended := false; !ended; {
			count(1)
			select {
			case <-old.Done():
				ended = true
			default:
			}
		}
		if err := old.Stop(); err != nil {
			t.Errorf("the old webhook did not end in good order: %v", err)
		}
	}
	count(50)
	cancel()
	for left := 4; left > 0; {
		if err := <-created; errors.Is(err, context.Canceled) {
			left--
		}
	}
	t.Logf("%d pods during 3 restarts", total)
	if failed > 0 {
		t.Errorf("%d of %d pods were refused during restarts", failed, total)
	}
}
