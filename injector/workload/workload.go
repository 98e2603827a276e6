// Package workload shows offline what the webhook would do to the pods of
// manifests: pods themselves, and the pod templates of workloads.
package workload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/injector"
)

// maxDocument bounds one document; etcd takes objects up to 1.5 MiB.
const maxDocument = 3 << 20

// Preview is what would become of one object.
type Preview struct {
	// Kind and Name say which object it is.
	Kind, Name string
	// Before and After are the object as JSON.
	Before, After []byte
	// Patch is the JSON Patch from one to the other, with paths from the
	// object's root; nil if they are the same.
	Patch []byte
	// HasPod tells whether the object is a pod or has a pod template. The
	// decision is empty if not.
	HasPod   bool
	Decision injector.Decision
	// Notes are for the author of the object, beside the decision's warnings.
	Notes []string
}

// object is what is read of any Kubernetes object.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name         string            `json:"name"`
		GenerateName string            `json:"generateName"`
		Annotations  map[string]string `json:"annotations"`
		Labels       map[string]string `json:"labels"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

// templatePath says where the kinds that make pods keep the pod, as a JSON
// pointer (RFC 6901); "" is the object itself.
func templatePath(kind string) (path string, ok bool) {
	switch kind {
	case "Pod":
		return "", true
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController":
		return "/spec/template", true
	case "CronJob":
		return "/spec/jobTemplate/spec/template", true
	case "PodTemplate":
		return "/template", true
	}
	return "", false
}

// Read decodes the YAML or JSON documents of r; the objects of a List come
// out one by one. Its errors name the document by its number, from 1.
func Read(r io.Reader) ([][]byte, error) {
	decoder := utilyaml.NewYAMLReader(bufio.NewReader(r))
	var all [][]byte
	for n := 1; ; n++ {
		doc, err := decoder.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d can't be read: %w", n, err)
		}
		if len(doc) > maxDocument {
			return nil, fmt.Errorf("document %d is larger than %d bytes", n, maxDocument)
		}
		raw, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d is not valid YAML: %w", n, err)
		}
		if bytes.Equal(raw, []byte("null")) { // only comments
			continue
		}
		var o object
		if err := json.Unmarshal(raw, &o); err != nil {
			return nil, fmt.Errorf("document %d is not a Kubernetes object: %w", n, err)
		}
		switch {
		case o.Kind == "":
			return nil, fmt.Errorf("document %d has no kind", n)
		case strings.HasSuffix(o.Kind, "List") && o.Items != nil:
			for n, item := range o.Items {
				if item, err = withKind(item, strings.TrimSuffix(o.Kind, "List")); err != nil {
					return nil, fmt.Errorf("items[%d] of document %d: %w", n, len(all)+1, err)
				}
				all = append(all, item)
			}
		default:
			all = append(all, raw)
		}
	}
}

// withKind gives an item of a typed list, which need not say what it is, the
// list's kind.
func withKind(item json.RawMessage, kind string) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(item, &fields); err != nil {
		return nil, fmt.Errorf("not a Kubernetes object: %w", err)
	}
	if _, has := fields["kind"]; has {
		return item, nil
	}
	if kind == "" {
		return nil, errors.New("it has no kind")
	}
	fields["kind"] = json.RawMessage(`"` + kind + `"`)
	return json.Marshal(fields)
}

// Inject shows what would become of one object.
func Inject(i *injector.Injector, raw []byte) (Preview, error) {
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		return Preview{}, fmt.Errorf("not a Kubernetes object: %w", err)
	}
	p := Preview{Kind: o.Kind, Name: o.Metadata.Name, Before: raw, After: raw}
	if p.Name == "" {
		p.Name = o.Metadata.GenerateName + "*"
	}
	path, ok := templatePath(o.Kind)
	if !ok {
		return p, nil
	}
	pod, err := at(raw, path)
	if err != nil {
		return p, fmt.Errorf("%s %s: %w", p.Kind, p.Name, err)
	}
	p.HasPod = true
	p.Decision = i.Decide(pod)
	if path != "" && p.Decision.Reason == injector.ReasonNotRequested {
		p.Notes = misplaced(&o, path)
	}
	if p.Decision.Patch == nil {
		return p, nil
	}
	if p.Patch, err = prefix(p.Decision.Patch, path); err != nil {
		return p, err
	}
	patch, err := jsonpatch.DecodePatch(p.Patch)
	if err != nil {
		return p, fmt.Errorf("%s %s: the patch can't be decoded: %w", p.Kind, p.Name, err)
	}
	if p.After, err = patch.Apply(raw); err != nil {
		return p, fmt.Errorf("%s %s: the patch can't be applied: %w", p.Kind, p.Name, err)
	}
	return p, nil
}

// misplaced finds our keys on a workload whose pods do not have them: the
// workload's own metadata does not reach its pods.
func misplaced(o *object, path string) []string {
	var notes []string
	for _, place := range []struct {
		kind string
		keys map[string]string
	}{{"annotation", o.Metadata.Annotations}, {"label", o.Metadata.Labels}} {
		if _, ok := place.keys[injector.Prefix+"inject"]; ok {
			notes = append(notes, fmt.Sprintf("%s %sinject is set on the %s, where it has no effect; move it to %s.metadata.%ss",
				place.kind, injector.Prefix, o.Kind, strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "."), place.kind))
		}
	}
	return notes
}

// at returns the value that a pointer without escapes points to.
func at(raw []byte, pointer string) ([]byte, error) {
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if name == "" {
			break
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return nil, fmt.Errorf("%s is not there: %w", pointer, err)
		}
		next, ok := fields[name]
		if !ok {
			return nil, fmt.Errorf("it has no %s", strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", "."))
		}
		raw = next
	}
	return raw, nil
}

// prefix moves a patch's operations to where the pod is.
func prefix(patch []byte, path string) ([]byte, error) {
	if path == "" {
		return patch, nil
	}
	var operations []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(patch, &operations); err != nil {
		return nil, fmt.Errorf("the patch can't be decoded: %w", err)
	}
	for n := range operations {
		operations[n].Path = path + operations[n].Path
	}
	return json.Marshal(operations)
}
