package access_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
)

// accessID is the auth method of the tests' identities.
const accessID = "p-abcdefghij12km"

type claims = map[string][]string

// rulesOf reads rules as the tests and docs/access.md write them: one a line,
// capabilities with commas, the type if it is not item-rule, the path.
func rulesOf(text string) []access.Rule {
	var rules []access.Rule
	for line := range strings.SplitSeq(text, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		capabilities, path, _ := strings.Cut(line, " ")
		rule := access.Rule{Type: access.ItemRule, Path: path}
		if first, rest, ok := strings.Cut(path, " "); ok && strings.HasSuffix(first, "-rule") {
			rule.Type, rule.Path = access.RuleType(first), rest
		}
		for c := range strings.SplitSeq(capabilities, ",") {
			rule.Capabilities = append(rule.Capabilities, access.Capability(c))
		}
		rules = append(rules, rule)
	}
	return rules
}

// objectsOf is one role with the rules, which all identities of the tests' auth
// method have.
func objectsOf(rules string) access.Objects {
	return access.Objects{
		Roles:        []access.Role{{Name: "r", Rules: rulesOf(rules)}},
		Associations: []access.Association{{Role: "r", AccessID: accessID}},
	}
}

func compile(t testing.TB, o access.Objects) *access.Policy {
	t.Helper()
	policy, err := access.Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func grantsOf(t testing.TB, rules string, c claims) access.Grants {
	t.Helper()
	return compile(t, objectsOf(rules)).For(access.Identity{AccessID: accessID, SubClaims: c})
}

func pathOf(t testing.TB, name string) access.Path {
	t.Helper()
	path, err := access.ParsePath(name)
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	return path
}

// questionOf reads "read /a/b" or "read role-rule a/b".
func questionOf(t testing.TB, text string) (access.Capability, access.RuleType, access.Path) {
	t.Helper()
	rules := rulesOf(text)
	if len(rules) != 1 || len(rules[0].Capabilities) != 1 {
		t.Fatalf("%q is no question", text)
	}
	return rules[0].Capabilities[0], rules[0].Type, pathOf(t, rules[0].Path)
}

// claimsOf reads name=value texts; a name may come several times.
func claimsOf(texts []string) claims {
	all := claims{}
	for _, text := range texts {
		if name, value, ok := strings.Cut(text, "="); ok {
			all[name] = append(all[name], value)
		}
	}
	return all
}

func names(capabilities []access.Capability) string {
	list := make([]string, 0, len(capabilities))
	for _, c := range capabilities {
		list = append(list, string(c))
	}
	return strings.Join(list, ",")
}

func all() []access.Capability {
	return []access.Capability{access.Read, access.Create, access.Update, access.Delete, access.List}
}

func types() []access.RuleType {
	return []access.RuleType{access.ItemRule, access.RoleRule, access.AuthMethodRule}
}

// reversed is a copy in the opposite order.
func reversed[T any](list []T) []T {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}
