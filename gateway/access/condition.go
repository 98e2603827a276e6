package access

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	// MaxPatterns bounds the text of one condition, in bytes.
	MaxPatterns = 4096
	// MaxValue bounds a sub-claim's value that is looked at, in bytes; a longer
	// one matches nothing. Kubernetes' names have 253 at most.
	MaxValue = 1024
)

// condition is what an association asks of one sub-claim.
type condition struct {
	claim      string
	anyOf      []string
	ignoreCase bool
}

// conditions reads an association's sub-claims.
func (a *Association) conditions(path *field.Path) ([]condition, field.ErrorList) {
	var errs field.ErrorList
	var all []condition
	for _, name := range slices.Sorted(maps.Keys(a.SubClaims)) {
		c := condition{claim: name, ignoreCase: a.IgnoreCase}
		if !validClaimName(name) {
			errs = append(errs, field.Invalid(path, shorten(name), "is not the name of a claim; "+claimNameSyntax))
			continue
		}
		text, child := a.SubClaims[name], path.Key(name)
		if len(text) > MaxPatterns {
			errs = append(errs, field.TooLong(child, "", MaxPatterns))
			continue
		}
		for p := range strings.SplitSeq(text, ",") {
			p = strings.TrimSpace(p)
			if problem := checkPatternText(p); problem != "" {
				errs = append(errs, field.Invalid(child, text, problem))
				break
			}
			if a.IgnoreCase {
				p = lower(p)
			}
			c.anyOf = append(c.anyOf, p)
		}
		all = append(all, c)
	}
	return all, errs
}

func checkPatternText(p string) string {
	switch {
	case p == "":
		return "must have a pattern before, between and after its commas; * is any value"
	case !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "must hold printable characters only"
	}
	return ""
}

// holds says whether a value of the claim matches one of the patterns. A value
// that is empty, too long or not UTF-8 is none.
func (c *condition) holds(claims map[string][]string) bool {
	for _, value := range claims[c.claim] {
		if value == "" || len(value) > MaxValue || !utf8.ValidString(value) {
			continue
		}
		if c.ignoreCase {
			value = lower(value)
		}
		if slices.ContainsFunc(c.anyOf, func(p string) bool { return matchValue(p, value) }) {
			return true
		}
	}
	return false
}

// matchValue says whether valid UTF-8 matches a pattern in which * stands for
// any text and ? for one character. Its time is at most proportional to the
// product of the lengths.
func matchValue(pattern, value string) bool {
	p, v := 0, 0
	// star is where the last * was, and resume what it did not swallow yet.
	star, resume := -1, 0
	for v < len(value) {
		_, width := utf8.DecodeRuneInString(value[v:])
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, v
			p++
		case p < len(pattern) && pattern[p] == '?':
			p++
			v += width
		case strings.HasPrefix(pattern[p:], value[v:v+width]):
			p += width
			v += width
		case star >= 0:
			_, width = utf8.DecodeRuneInString(value[resume:])
			resume += width
			p, v = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// lower makes A to Z small and leaves the rest, see Association.IgnoreCase.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, text)
}

// shorten keeps what somebody sent from filling an error.
func shorten(text string) string {
	const enough = 64
	if len(text) <= enough {
		return text
	}
	return strings.ToValidUTF8(text[:enough], "") + "…"
}
