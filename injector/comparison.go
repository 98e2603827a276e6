package injector

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// comparison holds JSON that is there against JSON that Gatepass would write.
// A field that no rule names must be equal, so that one which Kubernetes, or
// Gatepass, gets later on is not overlooked.
type comparison struct {
	// differences are texts, each about one field.
	differences []string
	// more counts the differences that found no place.
	more int
}

// maxDifferences bounds what one refusal lists.
const maxDifferences = 4

// rule compares one field. Values are as a JSON decoder makes them; nil is
// none.
type rule func(c *comparison, field string, have, want any)

// differ notes a difference.
func (c *comparison) differ(format string, args ...any) {
	if len(c.differences) == maxDifferences {
		c.more++
		return
	}
	c.differences = append(c.differences, fmt.Sprintf(format, args...))
}

// String lists the differences, or is empty.
func (c *comparison) String() string {
	text := strings.Join(c.differences, ", ")
	if c.more > 0 {
		text += fmt.Sprintf(", and %d more", c.more)
	}
	return text
}

// object compares objects field by field.
func (c *comparison) object(at string, have, want map[string]any, rules map[string]rule) {
	names := slices.Collect(maps.Keys(want))
	for name := range have {
		if _, ok := want[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		field := name
		if at != "" {
			field = at + "." + name
		}
		if r := rules[name]; r != nil {
			r(c, field, have[name], want[name])
		} else {
			mustEqual(c, field, have[name], want[name])
		}
	}
}

// mustEqual is the rule of fields that have no other. An empty list is none, as it
// is for the API server.
func mustEqual(c *comparison, at string, have, want any) {
	if none(have) && none(want) {
		return
	}
	switch w := want.(type) {
	case map[string]any:
		if h, ok := have.(map[string]any); ok {
			c.object(at, h, w, nil)
			return
		}
	case []any:
		if h, ok := have.([]any); ok && len(h) == len(w) {
			for i := range w {
				mustEqual(c, at+"["+strconv.Itoa(i)+"]", h[i], w[i])
			}
			return
		}
	}
	if !reflect.DeepEqual(have, want) {
		c.unequal(at, have, want)
	}
}

// unequal says what is there and what should be. A value that should not be
// there at all is not repeated: it may be anything, a secret included.
func (c *comparison) unequal(at string, have, want any) {
	switch {
	case none(want):
		c.differ("its %s must not be set", clipName(at))
	case none(have):
		c.differ("its %s is missing", at)
	default:
		c.differ("its %s is %s and not %s", at, shown(have), shown(want))
	}
}

func none(v any) bool {
	list, ok := v.([]any)
	return v == nil || ok && len(list) == 0
}

// free is the rule of fields that others may set to anything.
func free(*comparison, string, any, any) {}

// oneOf is the rule of fields that may be left out, or have one of these values.
func oneOf(values ...any) rule {
	return func(c *comparison, at string, have, want any) {
		if have != nil && !slices.ContainsFunc(values, func(v any) bool { return reflect.DeepEqual(v, have) }) {
			c.unequal(at, have, want)
		}
	}
}

// shown is a value as it stands in JSON, if it is short.
func shown(v any) string {
	const most = 120
	text, err := json.Marshal(v)
	if err != nil || len(text) > most {
		return fmt.Sprintf("%d bytes of JSON", len(text))
	}
	return string(text)
}

// clipName bounds a name that the pod's author chose.
func clipName(name string) string {
	const most = 80
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}
