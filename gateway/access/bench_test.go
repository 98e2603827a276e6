package access_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
)

// hundredRules are of every kind; most teams' begin alike.
func hundredRules() string {
	var b strings.Builder
	for i := range 15 {
		fmt.Fprintf(&b, "read /teams/team-%02d/apps/*\n", i)
		fmt.Fprintf(&b, "read /teams/team-%02d/+/config/*\n", i)
		fmt.Fprintf(&b, "read,update /teams/team-%02d/shared/*/key\n", i)
		fmt.Fprintf(&b, "read /teams/team-%02d/password\n", i)
		fmt.Fprintf(&b, "read /env/+/team-%02d/+/db\n", i)
	}
	for i := range 10 {
		fmt.Fprintf(&b, "deny /teams/+/apps/internal-%d/*\n", i)
		fmt.Fprintf(&b, "read /claims-%d/{{namespace}}/*\n", i)
	}
	for i := range 5 {
		fmt.Fprintf(&b, "read /groups-%d/{{groups}}/*\n", i)
	}
	return b.String()
}

func podClaims() claims {
	return claims{
		"namespace": {"team-14"}, "service_account_name": {"web"}, "pod_name": {"web-7d4b9c-x2x9z"},
		"aud": {"gatepass"}, "config_name": {"k8s-conf"}, "groups": {"dev", "ops", "sre"},
	}
}

func questions() []struct {
	name, object string
	want         bool
} {
	return []struct {
		name, object string
		want         bool
	}{
		{"given by an early rule", "/teams/team-00/apps/web/password", true},
		{"given by a late rule", "/teams/team-14/web/config/prod/database", true},
		{"given by a claim", "/groups-4/sre/web/password", true},
		{"given by a name", "/teams/team-14/password", true},
		{"denied", "/teams/team-14/apps/internal-9/password", false},
		{"not given", "/teams/team-14/web/database/prod/password", false},
		{"not given, among rules that begin with a wildcard", "/env/prod/team-14/eu-west-1/queue", false},
	}
}

func BenchmarkAllow(b *testing.B) {
	rules := hundredRules()
	if n := strings.Count(rules, "\n"); n != 100 {
		b.Fatalf("%d rules", n)
	}
	grants := grantsOf(b, rules, podClaims())
	for _, q := range questions() {
		b.Run(q.name, func(b *testing.B) {
			path := pathOf(b, q.object)
			b.ReportAllocs()
			for b.Loop() {
				if grants.Allow(access.Read, access.ItemRule, path) != q.want {
					b.Fatal("the answer is wrong")
				}
			}
		})
	}
}

func BenchmarkAllowWorst(b *testing.B) {
	grants := grantsOf(b, "read "+strings.Repeat("*a+a", access.MaxVariables/2-1)+"*b+a", nil)
	path := pathOf(b, strings.Repeat("a", access.MaxPath))
	b.ReportAllocs()
	for b.Loop() {
		if grants.Allow(access.Read, access.ItemRule, path) {
			b.Fatal("the answer is wrong")
		}
	}
}

func BenchmarkFor(b *testing.B) {
	policy := compile(b, objectsOf(hundredRules()))
	id := access.Identity{AccessID: accessID, SubClaims: podClaims()}
	b.ReportAllocs()
	for b.Loop() {
		policy.For(id)
	}
}

func BenchmarkParsePath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := access.ParsePath("/teams/team-14/web/config/prod/database"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	var objects access.Objects
	rules := rulesOf(hundredRules())
	for i := range 100 {
		name := fmt.Sprintf("role-%d", i)
		objects.Roles = append(objects.Roles, access.Role{Name: name, Rules: rules})
		objects.Associations = append(objects.Associations, access.Association{
			Role: name, AccessID: accessID, SubClaims: map[string]string{"namespace": fmt.Sprintf("team-%d", i)},
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := access.Compile(objects); err != nil {
			b.Fatal(err)
		}
	}
}

// Not parallel: allocations of other tests would be counted.
func TestDecisionsDoNotAllocate(t *testing.T) {
	grants := grantsOf(t, hundredRules(), podClaims())
	for _, q := range questions() {
		got := false
		allocations := testing.AllocsPerRun(100, func() {
			path, err := access.ParsePath(q.object)
			got = err == nil && grants.Allow(access.Read, access.ItemRule, path)
		})
		if allocations != 0 || got != q.want {
			t.Errorf("%s: answer %t, %v allocations", q.name, got, allocations)
		}
	}
}
