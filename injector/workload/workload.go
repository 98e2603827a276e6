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
	// Pods are the pod that the object is, or its pod templates, in the order of
	// their paths; none if it has none that could be found.
	Pods []Pod
	// Mistakes are reasons for which an API server would refuse the object.
	Mistakes []string
	// Notes are for the author of the object, beside the decisions' warnings.
	Notes []string
	// Unseen means that the object has a key of ours, but no pod template that
	// could be found: what its controller makes of it is not known.
	Unseen bool
}

// Pod is one pod or pod template of an object.
type Pod struct {
	// Path is where it is, as in spec.template; "" is the object itself.
	Path     string
	Decision injector.Decision
}

// object is what is read of any Kubernetes object.
type object struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
}

// metadata is that of an object or of a pod template.
type metadata struct {
	Name         string `json:"name"`
	GenerateName string `json:"generateName"`
	Annotations  pairs  `json:"annotations"`
	Labels       pairs  `json:"labels"`
}

// header is what Read needs to know of a document.
type header struct {
	Kind  string            `json:"kind"`
	Items []json.RawMessage `json:"items"`
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
		var o header
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
	path, known := templatePath(&o)
	paths := []string{path}
	if !known {
		paths = shapes(raw)
	}
	if path != "" || !known {
		p.Mistakes = o.Metadata.mistakes("")
	}
	for _, path := range paths {
		if err := p.pod(i, path); err != nil {
			return p, fmt.Errorf("%s %s: %w", p.Kind, p.Name, err)
		}
	}
	switch {
	case len(p.Pods) == 0:
		p.Unseen = mentioned(raw)
		if p.Unseen {
			p.Notes = append(p.Notes, fmt.Sprintf("it has a key that begins with %s, but no pod template that could be found; what its controller makes of it was not looked at", injector.Prefix))
		}
	case paths[0] != "":
		p.misplaced(&o, known)
	}
	if len(p.Mistakes) > 0 || p.Patch == nil {
		return p, nil
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

// pod decides about the pod at a path, and adds what would change.
func (p *Preview) pod(i *injector.Injector, path string) error {
	raw, err := at(p.Before, path)
	if err != nil {
		return err
	}
	var template struct {
		Metadata metadata `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &template); err != nil {
		return fmt.Errorf("%s is not a pod template: %w", dotted(path), err)
	}
	p.Notes = append(p.Notes, template.Metadata.lookalikes()...)
	if wrong := template.Metadata.mistakes(dotted(path)); len(wrong) > 0 {
		// The webhook would not come to see it.
		p.Mistakes = append(p.Mistakes, wrong...)
		p.Pods = append(p.Pods, Pod{Path: dotted(path)})
		return nil
	}
	d := i.Decide(raw)
	p.Pods = append(p.Pods, Pod{Path: dotted(path), Decision: d})
	if d.Patch == nil {
		return nil
	}
	p.Patch, err = merge(p.Patch, d.Patch, path)
	return err
}

// misplaced finds our keys on an object whose pods do not have them: the object's
// own metadata does not reach the pods of Kubernetes' own kinds.
func (p *Preview) misplaced(o *object, known bool) {
	for _, pod := range p.Pods {
		if pod.Decision.Reason != injector.ReasonNotRequested {
			return
		}
	}
	effect := "where it has no effect"
	if !known {
		effect = "where it has no effect unless its controller copies it"
	}
	for _, place := range []struct {
		kind string
		keys pairs
	}{{"annotation", o.Metadata.Annotations}, {"label", o.Metadata.Labels}} {
		if _, ok := place.keys[injector.Prefix+"inject"]; ok {
			p.Notes = append(p.Notes, fmt.Sprintf("%s %sinject is set on the %s, %s; move it to %s.metadata.%ss",
				place.kind, injector.Prefix, o.Kind, effect, p.Pods[0].Path, place.kind))
		}
	}
}

// merge adds to a patch the operations of another, moved to where the pod is.
func merge(patch, more []byte, path string) ([]byte, error) {
	type operation struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	var all, added []operation
	if patch != nil {
		if err := json.Unmarshal(patch, &all); err != nil {
			return nil, fmt.Errorf("the patch can't be decoded: %w", err)
		}
	}
	if err := json.Unmarshal(more, &added); err != nil {
		return nil, fmt.Errorf("the patch can't be decoded: %w", err)
	}
	for _, op := range added {
		op.Path = path + op.Path
		all = append(all, op)
	}
	return json.Marshal(all)
}
