package admission_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/test/repo"
)

type object = map[string]any

// warnings collects what a client is warned of.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

// create posts a pod as it is; nothing is decoded into types on the way.
func (b *bed) create(ctx context.Context, namespace string, pod object, dryRun bool) (object, []string, error) {
	body, err := json.Marshal(pod)
	if err != nil {
		return nil, nil, err
	}
	var w warnings
	request := b.cluster.Client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").
		SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").
		Param("fieldValidation", "Ignore").Body(body).WarningHandler(&w)
	if dryRun {
		request.Param("dryRun", metav1.DryRunAll)
	}
	result := request.Do(ctx)
	if err := result.Error(); err != nil { // unlike Raw's, it tells the cause
		return nil, w.text, err
	}
	raw, err := result.Raw()
	if err != nil {
		return nil, w.text, err
	}
	created, err := decode(raw)
	return created, w.text, err
}

func decode(raw []byte) (object, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var o object
	if err := decoder.Decode(&o); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	return o, nil
}

// loadPods reads the pods of the injector's golden tests and of this package.
func loadPods() (map[string]object, error) {
	root, err := repo.Root()
	if err != nil {
		return nil, err
	}
	pods := map[string]object{}
	for _, pattern := range []string{filepath.Join(root, fixtures, "pods", "*.yaml"), filepath.Join("testdata", "pods", "*.yaml")} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no pods at %s (%w)", pattern, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			raw, err := yaml.YAMLToJSON(content)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			pod, err := decode(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			at(pod, "metadata")["namespace"] = shared.namespace
			pods[strings.TrimSuffix(filepath.Base(file), ".yaml")] = pod
		}
	}
	return pods, nil
}

// capture notes what the API server makes of each pod while there is no
// webhook. It also makes the service accounts that the pods name.
func (b *bed) capture(ctx context.Context) error {
	pods, err := loadPods()
	if err != nil {
		return err
	}
	b.plain = map[string]map[string]any{}
	var errs []error
	for name, pod := range pods {
		if account, ok := at(pod, "spec")["serviceAccountName"].(string); ok {
			if err := b.cluster.EnsureServiceAccount(ctx, b.namespace, account); err != nil {
				return err
			}
		}
		if b.plain[name], _, err = b.create(ctx, b.namespace, pod, true); err != nil {
			errs = append(errs, fmt.Errorf("the API server refuses the fixture %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// at returns a nested object, nil if there is none.
func at(o object, path ...string) object {
	for _, key := range path {
		next, _ := o[key].(object)
		o = next
	}
	return o
}

// objects returns a list of objects, empty if there is none.
func objects(v any) []object {
	list, _ := v.([]any)
	out := make([]object, 0, len(list))
	for _, e := range list {
		if o, ok := e.(object); ok {
			out = append(out, o)
		}
	}
	return out
}

// named returns the object of a list with this name, nil if there is none.
func named(v any, name string) object {
	for _, o := range objects(v) {
		if o["name"] == name {
			return o
		}
	}
	return nil
}

// accessVolume is the volume of the Kubernetes API's token: the ServiceAccount
// admission plugin gives it a random name.
var accessVolume = regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`)

// settle removes from a created pod what differs each time.
func settle(t testing.TB, pod object) object {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	settled, err := decode(accessVolume.ReplaceAll(raw, []byte("kube-api-access-00000")))
	if err != nil {
		t.Fatal(err)
	}
	meta := at(settled, "metadata")
	for _, key := range []string{"uid", "creationTimestamp", "managedFields", "resourceVersion", "generation"} {
		delete(meta, key)
	}
	for _, condition := range objects(at(settled, "status")["conditions"]) {
		delete(condition, "lastTransitionTime")
	}
	if _, generated := meta["generateName"]; generated {
		delete(meta, "name")
	}
	return settled
}

// strip removes what Gatepass adds. Arrays and maps that it had to create are
// empty then and go, too, as the API server leaves out empty ones.
func strip(pod, before object) {
	notes := at(pod, "metadata", "annotations")
	if _, had := at(before, "metadata", "annotations")["gatepass.dev/status"]; !had {
		delete(notes, "gatepass.dev/status")
	}
	if len(notes) == 0 {
		delete(at(pod, "metadata"), "annotations")
	}
	// The quality of service changes in two cases only, see docs/annotations.md: a
	// pod without resources gets the profile's, or the pod asks for agent resources.
	was, status := at(before, "status")["qosClass"], at(pod, "status")
	if status["qosClass"] == "Burstable" && (was == "BestEffort" || asksForResources(before)) {
		status["qosClass"] = was
	}
	spec := at(pod, "spec")
	drop(spec, "volumes", "gatepass-session", "gatepass-identity")
	drop(spec, "initContainers", "gatepass-agent")
	for _, s := range objects(spec["imagePullSecrets"]) {
		if name := fmt.Sprint(s["name"]); named(at(before, "spec")["imagePullSecrets"], name) == nil {
			drop(spec, "imagePullSecrets", name)
		}
	}
	for _, list := range []string{"initContainers", "containers"} {
		for _, c := range objects(spec[list]) {
			drop(c, "volumeMounts", "gatepass-session")
			if named(named(at(before, "spec")[list], fmt.Sprint(c["name"]))["env"], "GATEPASS_TOKEN_FILE") == nil {
				drop(c, "env", "GATEPASS_TOKEN_FILE")
			}
		}
	}
}

func asksForResources(pod object) bool {
	for key := range at(pod, "metadata", "annotations") {
		if strings.HasPrefix(key, "gatepass.dev/agent-requests-") || strings.HasPrefix(key, "gatepass.dev/agent-limits-") {
			return true
		}
	}
	return false
}

func drop(o object, key string, names ...string) {
	kept := []any{}
	for _, e := range objects(o[key]) {
		gone := false
		for _, name := range names {
			gone = gone || e["name"] == name
		}
		if !gone {
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 {
		delete(o, key)
		return
	}
	o[key] = kept
}

// annotated is a small pod with annotations.
func annotated(name string, annotations map[string]string) object {
	notes := object{}
	for key, value := range annotations {
		notes[key] = value
	}
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "annotations": notes},
		"spec": object{"containers": []any{object{"name": "app", "image": "example.com/app:v1"}}}}
}

func asking(name string) object {
	return annotated(name, map[string]string{"gatepass.dev/inject": "true"})
}

func hasAgent(pod object) bool {
	agent := named(at(pod, "spec")["initContainers"], "gatepass-agent")
	return agent != nil && named(at(pod, "spec")["volumes"], "gatepass-session") != nil
}

// clone copies an object deeply.
func clone(t testing.TB, o object) object {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return maps.Clone(copied)
}
