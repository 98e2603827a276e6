package workload

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/injector"
)

// pairs are annotations or labels as somebody wrote them: YAML makes a value
// without quotes a boolean or a number, where Kubernetes takes strings only.
type pairs map[string]any

// mistakes names the values that an API server would refuse. path is where the
// metadata is.
func (m *metadata) mistakes(path string) []string {
	if path != "" {
		path += "."
	}
	var found []string
	for _, place := range []struct {
		kind  string
		pairs pairs
	}{{"annotations", m.Annotations}, {"labels", m.Labels}} {
		for _, key := range slices.Sorted(maps.Keys(place.pairs)) {
			at := fmt.Sprintf("%smetadata.%s[%s]", path, place.kind, key)
			switch v := place.pairs[key].(type) {
			case string, nil:
			case bool, json.Number:
				found = append(found, fmt.Sprintf("%s is %v without quotes, and Kubernetes takes strings only; quote it: %s: \"%v\"", at, v, key, v))
			default:
				found = append(found, at+" is a list or an object, and Kubernetes takes strings only; quote it")
			}
		}
	}
	return found
}

// UnmarshalJSON keeps numbers as they are written.
func (p *pairs) UnmarshalJSON(raw []byte) error {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	return decoder.Decode((*map[string]any)(p))
}

// lookalikes says which keys are nearly ours. They are never seen by the webhook.
func (m *metadata) lookalikes() []string {
	var notes []string
	for _, place := range []struct {
		kind  string
		pairs pairs
	}{{"annotation", m.Annotations}, {"label", m.Labels}} {
		for _, key := range slices.Sorted(maps.Keys(place.pairs)) {
			if meant, ok := injector.Lookalike(key); ok {
				notes = append(notes, fmt.Sprintf("%s %s looks like one of Gatepass, but has no effect; did you mean %s?", place.kind, key, meant))
			}
		}
	}
	return notes
}

// mentioned reports whether an object has a key of ours anywhere.
func mentioned(raw []byte) bool {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return false
	}
	var look func(v any) bool
	look = func(v any) bool {
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				if strings.HasPrefix(key, injector.Prefix) || look(inner) {
					return true
				}
			}
		case []any:
			return slices.ContainsFunc(v, look)
		}
		return false
	}
	return look(v)
}
