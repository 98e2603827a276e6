package workload

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// YAML writes JSON as YAML with the keys that say what a thing is first, then
// the others by name. So an entry of a list begins with its name, before and
// after injection, and the difference of the two is additions to the eye as
// well.
func YAML(raw []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(escaped(raw), &doc); err != nil {
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

// escaped makes JSON, in which any character but the first 32 may stand in a
// string, what a YAML parser takes.
func escaped(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for _, r := range string(raw) {
		if unicode.IsPrint(r) || r < 0x7f {
			out = utf8.AppendRune(out, r)
			continue
		}
		out = fmt.Appendf(out, `\U%08X`, r)
	}
	return out
}

// rank puts the keys that say what a thing is before the others.
func rank(key string) int {
	leading := []string{"apiVersion", "kind", "metadata", "name", "generateName", "namespace", "image"}
	if n := slices.Index(leading, key); n >= 0 {
		return n
	}
	return len(leading)
}

// ambiguous reports whether a text must stay in quotes: it is something else
// in YAML 1.1, which kubectl reads, but not in 1.2, by which the encoder
// chooses (words for true and false, numbers to the base 60 or with
// underscores); or it has lines that a block does not keep.
func ambiguous(text string) bool {
	if strings.ContainsAny(text, "\t\r") || strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\n") || strings.Contains(text, " \n") ||
		strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		return true
	}
	switch strings.ToLower(text) {
	case "y", "n", "yes", "no", "on", "off", "<<", "=":
		return true
	}
	return strings.ContainsAny(text, "0123456789") && strings.Trim(text, "+-0123456789abcdefxo_:.") == ""
}

// arrange sorts the keys of all maps, and lets the encoder choose styles where
// that is safe.
func arrange(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || !ambiguous(n.Value) {
		n.Style = 0
	}
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
