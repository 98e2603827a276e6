package access_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
)

// eachValid makes random situations until count of them are valid.
func eachValid(t *testing.T, seed uint64, count int, visit func(r *rand.Rand, s *situation, policy *access.Policy)) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // repeatable on purpose
	for tries := 0; count > 0; tries++ {
		if tries > 1_000_000 {
			t.Fatal("too few of the random situations are valid")
		}
		s := randomSituation(random)
		policy, err := access.Compile(s.objects())
		if err != nil || !oracleName(s.name) {
			continue
		}
		visit(random, s, policy)
		count--
	}
}

func told(g access.Grants, path access.Path) string {
	var all []string
	for _, of := range types() {
		all = append(all, names(g.Capabilities(of, path)))
	}
	return strings.Join(all, ";")
}

func TestOrderMeansNothing(t *testing.T) {
	t.Parallel()
	differ := 0
	eachValid(t, 1, 1000, func(_ *rand.Rand, s *situation, policy *access.Policy) {
		path, objects := pathOf(t, s.name), s.objects()
		want := told(policy.For(s.identity()), path)
		for i := range objects.Roles {
			objects.Roles[i].Rules = reversed(objects.Roles[i].Rules)
		}
		objects.Roles, objects.Associations = reversed(objects.Roles), reversed(objects.Associations)
		id := s.identity()
		for name, values := range id.SubClaims {
			id.SubClaims[name] = reversed(values)
		}
		if got := told(compile(t, objects).For(id), path); got != want {
			t.Fatalf("%+v: in the opposite order %q, before %q", s, got, want)
		}
		if want != ";;" {
			differ++
		}
	})
	if differ < 100 {
		t.Errorf("only %d situations gave or denied anything", differ)
	}
}

func TestAnotherRuleThatGivesNeverTakesAway(t *testing.T) {
	t.Parallel()
	eachValid(t, 2, 1000, func(r *rand.Rand, s *situation, before *access.Policy) {
		more := access.Role{Name: "more", Rules: rulesOf("read,create,update,delete " + randomPattern(r))}
		objects := s.objects()
		objects.Roles = append(objects.Roles, more)
		objects.Associations = append(objects.Associations, access.Association{Role: "more", AccessID: accessID})
		after, err := access.Compile(objects)
		if err != nil {
			return // the new rule is not valid
		}
		had := before.For(s.identity()).Capabilities(access.ItemRule, pathOf(t, s.name))
		has := after.For(s.identity()).Capabilities(access.ItemRule, pathOf(t, s.name))
		for _, c := range had {
			if !slices.Contains(has, c) {
				t.Fatalf("%+v: %v took %s away", s, more.Rules, c)
			}
		}
	})
}

func TestAnotherRuleThatDeniesNeverGives(t *testing.T) {
	t.Parallel()
	eachValid(t, 3, 1000, func(r *rand.Rand, s *situation, before *access.Policy) {
		more := access.Role{Name: "more", Rules: rulesOf("deny " + randomPattern(r))}
		objects := s.objects()
		objects.Roles = append(objects.Roles, more)
		objects.Associations = append(objects.Associations, access.Association{Role: "more", AccessID: accessID})
		after, err := access.Compile(objects)
		if err != nil {
			return // the new rule is not valid
		}
		was, is := before.For(s.identity()), after.For(s.identity())
		for _, c := range all() {
			if path := pathOf(t, s.name); is.Allow(c, access.ItemRule, path) && !was.Allow(c, access.ItemRule, path) {
				t.Fatalf("%+v: %v gave %s", s, more.Rules, c)
			}
		}
	})
}

// Whatever text a pod gets into a claim, it reaches its own segment only.
func TestAClaimReachesOnlyTheSegmentOfItsText(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(4, 3)) //nolint:gosec // repeatable on purpose
	policy := compile(t, objectsOf("read /apps/p-{{pod_name}}/*"))
	letters := []string{"a", "b", "*", "+", "/", "{{", "}}", "?", ",", ".", " ", "\x00", "\xff", "é", "\u200b", "pod_name"}
	text := func() string {
		var b strings.Builder
		for range random.IntN(4) {
			b.WriteString(pick(random, letters...))
		}
		return b.String()
	}
	allowed := 0
	for range 100_000 {
		value, segment := text(), text()
		if random.IntN(4) == 0 {
			segment = value
		}
		name := "apps/p-" + segment + "/key"
		path, err := access.ParsePath(name)
		if err != nil {
			continue
		}
		grants := policy.For(access.Identity{AccessID: accessID, SubClaims: claims{"pod_name": {value}}})
		got := grants.Allow(access.Read, access.ItemRule, path)
		if got && !strings.HasPrefix(name, "apps/p-"+value+"/") {
			t.Fatalf("a pod called %q may read %q", value, name)
		}
		if got {
			allowed++
		}
	}
	if allowed < 1000 {
		t.Errorf("only %d were allowed, so that little was shown", allowed)
	}
}

// Who comes without a claim is denied whatever somebody with one would be.
func TestWithoutItsClaimARuleThatDeniesAppliesToAll(t *testing.T) {
	t.Parallel()
	denied := 0
	eachValid(t, 5, 2000, func(r *rand.Rand, s *situation, _ *access.Policy) {
		path := pathOf(t, s.name)
		id := s.identity()
		without := access.Identity{AccessID: accessID, SubClaims: claims{}}
		for name, values := range id.SubClaims {
			without.SubClaims[name] = values
		}
		delete(without.SubClaims, pick(r, "a", "b", "c"))
		// The conditional role may be lost with the claim; look at the other one.
		objects := s.objects()
		objects.Associations = objects.Associations[:1]
		policy := compile(t, objects)
		if told := policy.For(id).Capabilities(access.ItemRule, path); names(told) != "deny" {
			return
		}
		denied++
		if told := policy.For(without).Capabilities(access.ItemRule, path); names(told) != "deny" {
			t.Fatalf("%+v: denied with %v, and %q with %v", s, id.SubClaims, told, without.SubClaims)
		}
	})
	if denied < 50 {
		t.Errorf("only %d were denied, so that little was shown", denied)
	}
}

// No rule within the limits can make a decision on a name within the limits
// slow: one that tries one way after the other would be at it for years.
func TestMatchingIsBounded(t *testing.T) {
	t.Parallel()
	letters := strings.Repeat("a", access.MaxPath)
	for _, tt := range []struct{ name, path, object string }{
		{"stars", strings.Repeat("*a", access.MaxVariables-2) + "*b*a", letters},
		{"pluses", strings.Repeat("+a", access.MaxVariables-2) + "+b+a", letters},
		{"stars and pluses", strings.Repeat("*a+a", access.MaxVariables/2-1) + "*b+a", letters},
		{"stars before long texts", strings.Repeat("*"+letters[:120], access.MaxVariables-2) + "*b*a", letters},
		{"segments", "*" + strings.Repeat("/+a", access.MaxVariables-2) + "/b*a", strings.Repeat("a/", access.MaxPath/2-1) + "a"},
		{"a claim of many values", "*/{{c}}/b*a", strings.Repeat("a/", access.MaxPath/2-1) + "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			values := make([]string, 0, 2000)
			for i := range cap(values) {
				values = append(values, "a"+strconv.Itoa(i))
			}
			grants, path := grantsOf(t, "deny "+tt.path, claims{"c": values}), pathOf(t, tt.object)
			done := make(chan string, 1)
			go func() {
				var got []access.Capability
				for range 100 {
					got = grants.Capabilities(access.ItemRule, path)
				}
				done <- names(got)
			}()
			select {
			case got := <-done:
				if got != "" {
					t.Errorf("got %q for a name without a b", got)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("100 decisions took more than 10 s")
			}
		})
	}
}
