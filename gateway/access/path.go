package access

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPath bounds the name of an object and the path of a rule, in bytes and
// without the leading slash. Matching takes time in proportion to it.
const MaxPath = 1024

// Path is the name of an item, a role or an auth method in its one normal
// form. ParsePath is what makes one; the zero Path names nothing, and nothing
// is allowed on it.
type Path struct {
	// name has no leading slash.
	name string
}

// ParsePath reads the name of an object. It is the only place where names are
// made normal: a leading slash may be there or not, and every other spelling is
// refused rather than repaired, so that two names never mean one object.
//
// A name has up to MaxPath bytes of UTF-8 in segments with one slash between
// them. No segment is empty, "." or "..", and none begins or ends with a space.
// Characters are printable ones (unicode.IsPrint: no control characters, no
// invisible or direction marks, no space but U+0020) except * + { }, which
// mean something in a rule's path: the path of a rule that looks like a name
// is then never more than that name. Case counts, and so does the encoding of
// an accented letter; bytes are compared.
//
// It does not allocate unless it fails.
func ParsePath(name string) (Path, error) {
	name = strings.TrimPrefix(name, "/")
	if problem := checkPath(name); problem != "" {
		return Path{}, fmt.Errorf("the name %s", problem)
	}
	if strings.ContainsAny(name, "*+{}") {
		return Path{}, errors.New("the name must not hold any of * + { }")
	}
	return Path{name}, nil
}

// Name is the path without a leading slash, as the API writes the names of
// roles and auth methods.
func (p Path) Name() string { return p.name }

// String is the path with a leading slash, as the API writes the names of
// items.
func (p Path) String() string { return "/" + p.name }

// checkPath says what is wrong with a name, or with the path of a rule, or "".
func checkPath(path string) string {
	if len(path) > MaxPath {
		return fmt.Sprintf("must have at most %d bytes", MaxPath)
	}
	for rest, more := path, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if problem := checkSegment(segment); problem != "" {
			return problem
		}
	}
	return ""
}

func checkSegment(segment string) string {
	switch {
	case segment == "":
		return "must have text before, between and after its slashes; only one leading slash may be there"
	case segment == "." || segment == "..":
		return `must not have a segment "." or ".."`
	case segment[0] == ' ' || segment[len(segment)-1] == ' ':
		return "must not have a space beside a slash or at an end"
	}
	for i, r := range segment {
		switch {
		case r >= ' ' && r <= '~': // most are, and unicode.IsPrint is slower
		case r == utf8.RuneError && !strings.HasPrefix(segment[i:], string(utf8.RuneError)):
			return "must be UTF-8"
		case !unicode.IsPrint(r):
			return fmt.Sprintf("must not hold the character %U: it can't be seen", r)
		}
	}
	return ""
}

// trimmed is a valid path without its leading slash.
func trimmed(path string) string { return strings.TrimPrefix(path, "/") }
