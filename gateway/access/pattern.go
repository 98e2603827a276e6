package access

import (
	"fmt"
	"slices"
	"strings"
)

// MaxVariables bounds the wildcards and claims in the path of one rule. With
// MaxPath it bounds what one match can cost, at some tens of microseconds.
const MaxVariables = 8

// maxClaimName is longer than any claim's name that is in use.
const maxClaimName = 128

// kind says what a part of a pattern matches.
type kind uint8

const (
	// literal matches its text.
	literal kind = iota
	// within matches any text without a slash: +.
	within
	// anything matches any text: *.
	anything
	// claim is a segment that depends on the identity; it must be resolved
	// before matching.
	claim
	// oneOf matches a segment that is one of its values.
	oneOf
)

// part is a piece of a rule's path.
type part struct {
	kind kind
	// text is a literal's.
	text string
	// A claim's segment is before, a value of the claim name, after.
	before, name, after string
	// values are oneOf's, sorted: whole segments.
	values []string
}

// parsePattern reads the path of a rule. The second result says what is wrong
// with it, or is "".
func parsePattern(path string) ([]part, string) {
	path = strings.TrimPrefix(path, "/")
	if problem := checkPath(path); problem != "" {
		return nil, problem
	}
	var parts []part
	for segment := range strings.SplitSeq(path, "/") {
		found, problem := parseSegment(segment)
		if problem != "" {
			return nil, problem
		}
		if len(parts) > 0 {
			parts = append(parts, part{text: "/"})
		}
		parts = append(parts, found...)
	}
	variables := 0
	var names []string
	for i := range parts {
		if parts[i].kind != literal {
			variables++
		}
		if parts[i].kind != claim {
			continue
		}
		if slices.Contains(names, parts[i].name) {
			// With several values, it would be left open whether both are the same.
			return nil, fmt.Sprintf("must name the claim %s only once", parts[i].name)
		}
		names = append(names, parts[i].name)
	}
	if variables > MaxVariables {
		return nil, fmt.Sprintf("must hold at most %d wildcards and claims", MaxVariables)
	}
	return parts, ""
}

func parseSegment(segment string) ([]part, string) {
	if strings.ContainsAny(segment, "{}") {
		return parseClaim(segment)
	}
	var parts []part
	for segment != "" {
		i := strings.IndexAny(segment, "*+")
		switch {
		case i < 0:
			return append(parts, part{text: segment}), ""
		case i > 0:
			parts = append(parts, part{text: segment[:i]})
		case len(parts) > 0 && parts[len(parts)-1].kind != literal:
			return nil, "must not have two wildcards side by side"
		}
		wildcard := part{kind: anything}
		if segment[i] == '+' {
			wildcard.kind = within
		}
		parts = append(parts, wildcard)
		segment = segment[i+1:]
	}
	return parts, ""
}

// parseClaim reads a segment that depends on a claim. Beside the claim it may
// hold fixed text only: with two variables in one segment, an identity that
// can choose one of them could get at what another's give, as namespace a and
// pod b-c at {{namespace}}-{{pod_name}} of namespace a-b and pod c.
func parseClaim(segment string) ([]part, string) {
	before, rest, opened := strings.Cut(segment, "{{")
	name, after, closed := strings.Cut(rest, "}}")
	name = strings.Trim(name, " ")
	switch {
	case !opened || !closed || strings.ContainsAny(before, "{}"):
		return nil, "must use braces only to name a claim, as in {{namespace}}"
	case strings.ContainsAny(before+after, "*+{}"):
		return nil, "must have only fixed text beside a claim in its segment; put a slash between a claim and a wildcard or another claim"
	case !validClaimName(name):
		return nil, "must name a claim between its braces; " + claimNameSyntax
	}
	return []part{{kind: claim, before: before, name: name, after: after}}, ""
}

const claimNameSyntax = "a name has letters, digits and any of _ - . :"

func validClaimName(name string) bool {
	allowed := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:", r)
	}
	return name != "" && len(name) <= maxClaimName && !strings.ContainsFunc(name, func(r rune) bool { return !allowed(r) })
}

// pattern is a path with variables, ready to match. Most rules are decided by
// the fixed text at their ends.
type pattern struct {
	prefix, suffix string
	// rest follows the prefix; it includes the suffix.
	rest []part
	// open says that rest is a single *.
	open bool
}

// newPattern joins literals that stand side by side.
func newPattern(parts []part) pattern {
	joined := make([]part, 0, len(parts))
	for i := range parts {
		if last := len(joined) - 1; last >= 0 && parts[i].kind == literal && joined[last].kind == literal {
			joined[last].text += parts[i].text
			continue
		}
		joined = append(joined, parts[i])
	}
	var p pattern
	if len(joined) > 0 && joined[0].kind == literal {
		p.prefix = joined[0].text
		joined = joined[1:]
	}
	p.rest = joined
	if last := len(joined) - 1; last >= 0 {
		p.suffix = joined[last].text
		p.open = last == 0 && joined[0].kind == anything
	}
	return p
}

// exact says whether the pattern matches its prefix and nothing else.
func (p *pattern) exact() bool { return len(p.rest) == 0 }

func (p *pattern) match(name string) bool {
	if !strings.HasPrefix(name, p.prefix) || !strings.HasSuffix(name, p.suffix) {
		return false
	}
	return p.open || reaches(p.rest, name, len(p.prefix))
}
