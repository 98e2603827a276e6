package access_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
)

// situation is all that a decision depends on, in texts that a fuzzer can
// change.
type situation struct {
	// everybody's and conditional's are the rules of two roles, as rulesOf reads
	// them. The second is given on the conditions.
	everybodys, conditionals string
	// conditions has a name=patterns a line, claims a name=value.
	conditions, claims string
	ignoreCase         bool
	// name is the object's.
	name string
}

func (s *situation) objects() access.Objects {
	o := access.Objects{
		Roles: []access.Role{{Name: "everybody", Rules: rulesOf(s.everybodys)}, {Name: "conditional", Rules: rulesOf(s.conditionals)}},
		Associations: []access.Association{
			{Role: "everybody", AccessID: accessID},
			{Role: "conditional", AccessID: accessID, SubClaims: map[string]string{}, IgnoreCase: s.ignoreCase},
		},
	}
	for line := range strings.SplitSeq(s.conditions, "\n") {
		if name, patterns, ok := strings.Cut(line, "="); ok {
			o.Associations[1].SubClaims[name] = patterns
		}
	}
	return o
}

func (s *situation) identity() access.Identity {
	return access.Identity{AccessID: accessID, SubClaims: claimsOf(strings.Split(s.claims, "\n"))}
}

// check compares the package's answers with the oracle's.
func (s *situation) check(t *testing.T) {
	t.Helper()
	objects, id := s.objects(), s.identity()
	policy, err := access.Compile(objects)
	if valid := oracleObjects(objects); valid != (err == nil) {
		t.Fatalf("%+v: valid is %t, error %v", s, valid, err)
	}
	path, refused := access.ParsePath(s.name)
	if valid := oracleName(s.name); valid != (refused == nil) {
		t.Fatalf("name %q: valid is %t, error %v", s.name, valid, refused)
	}
	if err != nil || refused != nil {
		return
	}
	grants := policy.For(id)
	for _, of := range types() {
		want := oracleCapabilities(objects, id, of, s.name)
		if got := grants.Capabilities(of, path); names(got) != names(want) {
			t.Fatalf("%+v: on %s: got %q, want %q", s, of, got, want)
		}
		for _, c := range all() {
			if got := grants.Allow(c, of, path); got != slices.Contains(want, c) {
				t.Fatalf("%+v: %s on %s: got %t, want among %q", s, c, of, got, want)
			}
		}
		if got := grants.MayKnow(of, path); got != slices.Contains(want, access.List) {
			t.Fatalf("%+v: may know of %s: got %t, want %q", s, of, got, want)
		}
	}
}

func oracleObjects(o access.Objects) bool {
	for _, role := range o.Roles {
		for i, rule := range role.Rules {
			same := func(other access.Rule) bool {
				return other.Type == rule.Type && strings.TrimPrefix(other.Path, "/") == strings.TrimPrefix(rule.Path, "/")
			}
			if !oracleValid(rule) || slices.ContainsFunc(role.Rules[:i], same) {
				return false
			}
		}
	}
	return oracleConditions(o.Associations[1].SubClaims)
}

// FuzzPolicy gives rules, conditions, claims and names any text: the answers
// must be the oracle's.
func FuzzPolicy(f *testing.F) {
	for seed := range uint64(50) {
		s := randomSituation(rand.New(rand.NewPCG(seed, 1))) //nolint:gosec // repeatable on purpose
		f.Add(s.everybodys, s.conditionals, s.conditions, s.claims, s.ignoreCase, s.name)
	}
	f.Fuzz(func(t *testing.T, everybodys, conditionals, conditions, claims string, ignoreCase bool, name string) {
		s := situation{everybodys, conditionals, conditions, claims, ignoreCase, name}
		s.check(t)
	})
}

func TestRandomSituationsAgreeWithTheOracle(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable on purpose
	valid := 0
	for range 5000 {
		s := randomSituation(random)
		s.check(t)
		if oracleObjects(s.objects()) && oracleName(s.name) {
			valid++
		}
	}
	if valid < 3000 {
		t.Errorf("only %d situations were valid, so that they were about matching", valid)
	}
}

// The pieces are few, so that rules, claims and names often meet.

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func randomSituation(r *rand.Rand) *situation {
	s := &situation{
		everybodys:   randomRules(r),
		conditionals: randomRules(r),
		conditions:   randomLines(r, func() string { return pick(r, "a", "b") + "=" + randomPatterns(r) }),
		claims:       randomLines(r, func() string { return pick(r, "a", "a", "b", "c") + "=" + randomValue(r) }),
		ignoreCase:   r.IntN(4) == 0,
		name:         randomName(r),
	}
	if rules := rulesOf(s.everybodys); len(rules) > 0 && r.IntN(2) == 0 {
		s.name = variable.ReplaceAllStringFunc(rules[0].Path, func(v string) string {
			if v == "*" {
				return pick(r, "x", "y/x", "xy/y")
			}
			return pick(r, "x", "y", "xy")
		})
	}
	return s
}

func randomLines(r *rand.Rand, line func() string) string {
	lines := make([]string, 0, 3)
	for range r.IntN(4) {
		lines = append(lines, line())
	}
	return strings.Join(lines, "\n")
}

func randomRules(r *rand.Rand) string {
	return randomLines(r, func() string {
		capabilities := pick(r, "read", "read", "update,create", "list", "delete", "deny", "deny,read")
		return capabilities + pick(r, " ", " ", " ", " role-rule ", " auth-method-rule ") + randomPattern(r)
	})
}

func randomPattern(r *rand.Rand) string {
	segments := make([]string, 0, 4)
	for range 1 + r.IntN(4) {
		segment := pick(r, "", "x", "y", "xy") + pick(r, "*", "+", "x") + pick(r, "", "y", "y*", "x+x")
		if r.IntN(3) == 0 {
			segment = pick(r, "", "", "x", "y") + pick(r, "{{a}}", "{{b}}", "{{ c }}") + pick(r, "", "", "y")
		}
		if r.IntN(50) == 0 {
			segment += pick(r, "", ".", "/", " ", "é", "{", "}}", "\x00", "*+")
		}
		segments = append(segments, segment)
	}
	return pick(r, "/", "") + strings.Join(segments, "/")
}

func randomPatterns(r *rand.Rand) string {
	var text strings.Builder
	for range 1 + r.IntN(4) {
		text.WriteString(pick(r, "x", "X", "y", "*", "?", "é", "x, y", "y ,x"))
	}
	return text.String()
}

func randomValue(r *rand.Rand) string {
	if r.IntN(6) == 0 {
		return pick(r, "", "*", "+", "/", "x/y", "..", "{{a}}", " x", "x\x00", "\xff", "é", "*,y")
	}
	var value strings.Builder
	for range 1 + r.IntN(2) {
		value.WriteString(pick(r, "x", "y", "X", "xy"))
	}
	return value.String()
}

func randomName(r *rand.Rand) string {
	segments := make([]string, 0, 5)
	for range 1 + r.IntN(5) {
		segments = append(segments, pick(r, "x", "y", "xy", "xx", "yx", "xxy", "xyxy", "é"))
	}
	if r.IntN(50) == 0 {
		segments = append(segments, pick(r, "", "..", "*", "x+", "\xff", "{{a}}"))
	}
	return pick(r, "/", "") + strings.Join(segments, "/")
}
