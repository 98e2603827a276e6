package injector

import "strings"

// Lookalike reports whether a key of an annotation or label is nearly one of ours,
// and which one was probably meant. No webhook sees such a key, because match
// conditions look for Prefix: it is for previews, and for what looks at all pods.
func Lookalike(key string) (meant string, yes bool) {
	if strings.HasPrefix(key, Prefix) {
		return "", false
	}
	const squeezedPrefix = "gatepassdev"
	host, name, slash := strings.Cut(strings.ToLower(key), "/")
	squeezed := squeeze(key)
	switch {
	case strings.HasPrefix(squeezed, squeezedPrefix):
		// Another separator, another case, or none: gatepass-dev-inject.
		name = squeezed[len(squeezedPrefix):]
	case slash && (host == "gatepass" || distance(host, strings.TrimSuffix(Prefix, "/")) <= maxPrefixMistakes):
	default:
		return "", false
	}
	for _, a := range Annotations() {
		if squeeze(a.Name) == squeeze(name) {
			return Prefix + a.Name, true
		}
	}
	return Prefix + name, true
}

// maxPrefixMistakes is how many letters of our domain may differ: gatepas.dev,
// gatepass.de, getpass.dev. With more, other projects' domains would be meant.
const maxPrefixMistakes = 2

// squeeze leaves only what is left of a key when case and separators are not looked
// at.
func squeeze(key string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(key))
}
