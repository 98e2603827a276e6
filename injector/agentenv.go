package injector

import (
	"slices"
	"strings"

	"github.com/gatepass/gatepass/agent/config"
)

// ownVariables is what the names of the agent's settings begin with, bundleVariable the one with
// the CAs that it trusts.
const (
	ownVariables   = "GATEPASS_"
	bundleVariable = ownVariables + "CA_BUNDLE"
	// tokenModeVariable follows from the users of all containers, as they were
	// when the agent was added. warn says who can't read the file.
	tokenModeVariable = ownVariables + "TOKEN_MODE"
)

// env compares the variables that Gatepass writes, which may come in any order
// and between others. sealed says that the container has no envFrom. Settings are compared by the trust that they declare,
// and everything else that Gatepass writes must be equal.
func (a *allowances) env(sealed bool) rule {
	return func(c *comparison, at string, have, want any) {
		list, ok := have.([]any)
		if have != nil && !ok {
			c.unequal(at, have, want)
		}
		wanted, order := variables(want)
		seen := map[string]bool{}
		for _, e := range list {
			v, _ := e.(map[string]any)
			name, _ := v["name"].(string)
			expected, known := wanted[name]
			switch {
			case !known && !strings.HasPrefix(name, ownVariables):
			case seen[name]:
				c.differ("it sets %s twice", clipName(name))
			case !plain(v):
				c.differ("its %s comes from elsewhere (valueFrom)", clipName(name))
			case !known:
				a.unknown(c, name)
			default:
				value, _ := v["value"].(string)
				a.variable(c, name, value, expected)
			}
			seen[name] = true
		}
		for _, name := range order {
			switch {
			case seen[name]:
			case wanted[name] != "":
				a.variable(c, name, "", wanted[name])
			case !sealed && config.TrustOf(name) != config.Harmless:
				c.differ("its %s is missing, so that its envFrom could set it", name)
			}
		}
	}
}

// variable compares one variable. One that is missing counts as empty, as it
// does for the agent.
func (a *allowances) variable(c *comparison, name, have, want string) {
	switch {
	case have == want, name == tokenModeVariable:
	case config.TrustOf(name) == config.Harmless:
		a.harmless = append(a.harmless, name)
	case want == "":
		c.differ("its %s must not be set", name)
	case name == bundleVariable && narrows(have, want):
		a.narrower = true
	case name == bundleVariable && have != "":
		c.differ("its %s has certificates that its profile has not", name)
	default:
		c.unequal(name, have, want)
	}
}

// unknown looks at a variable that Gatepass would not write, though its name is
// one of ours. What it is to an agent of another version is not known.
func (a *allowances) unknown(c *comparison, name string) {
	if config.TrustOf(name) == config.Harmless {
		a.harmless = append(a.harmless, name)
		return
	}
	c.differ("its %s must not be set", clipName(name))
}

// plain reports whether a variable has a name and a value, and nothing else.
func plain(v map[string]any) bool {
	for key, value := range v {
		if _, text := value.(string); !text || key != "name" && key != "value" {
			return false
		}
	}
	return true
}

// variables reads a list that Gatepass wrote.
func variables(list any) (values map[string]string, order []string) {
	values = map[string]string{}
	entries, _ := list.([]any)
	for _, e := range entries {
		v, _ := e.(map[string]any)
		name, _ := v["name"].(string)
		values[name], _ = v["value"].(string)
		order = append(order, name)
	}
	return values, order
}

// narrows reports whether each certificate of a bundle is in another, too.
func narrows(bundle, of string) bool {
	known := certificatesIn(of)
	have := certificatesIn(bundle)
	return len(have) > 0 && !slices.ContainsFunc(have, func(block string) bool { return !slices.Contains(known, block) })
}

// certificatesIn splits a bundle behind each certificate. Text that belongs to
// none is part of the next one, so that it is not overlooked.
func certificatesIn(bundle string) []string {
	var blocks []string
	for block := range strings.SplitAfterSeq(bundle, "-----END CERTIFICATE-----") {
		if block = strings.TrimSpace(block); block != "" {
			blocks = append(blocks, block)
		}
	}
	return blocks
}
