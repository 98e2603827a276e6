package workload

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// YAML writes JSON as YAML with the keys that say what a thing is first, then
// the others by name. So an entry of a list begins with its name, before and
// after injection, and the difference of the two is additions to the eye as
// well.
func YAML(raw []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil { // JSON is YAML
		return nil, fmt.Errorf("can't be read as YAML: %w", err)
	}
	arrange(&doc)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&doc); err != nil {
		return nil, fmt.Errorf("can't be written as YAML: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("can't be written as YAML: %w", err)
	}
	return out.Bytes(), nil
}

// rank puts the keys that say what a thing is before the others.
func rank(key string) int {
	leading := []string{"apiVersion", "kind", "metadata", "name", "generateName", "namespace", "image"}
	if n := slices.Index(leading, key); n >= 0 {
		return n
	}
	return len(leading)
}

// arrange sorts the keys of all maps, and lets the encoder choose styles.
func arrange(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		arrange(child)
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	type pair struct{ key, value *yaml.Node }
	pairs := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		pairs = append(pairs, pair{n.Content[i], n.Content[i+1]})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		if d := rank(a.key.Value) - rank(b.key.Value); d != 0 {
			return d
		}
		return strings.Compare(a.key.Value, b.key.Value)
	})
	for i, p := range pairs {
		n.Content[2*i], n.Content[2*i+1] = p.key, p.value
	}
}
