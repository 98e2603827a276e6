package access_test

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
)

func TestAllow(t *testing.T) {
	t.Parallel()
	pod := claims{"namespace": {"team-a"}, "pod_name": {"web-1"}, "groups": {"dev", "ops"}}
	with := func(name string, values ...string) claims { return claims{name: values} }
	for _, tt := range []struct {
		name   string
		rules  string
		claims claims
		ask    string
		want   bool
	}{
		// Capabilities.
		{"nothing is allowed without a rule", "", pod, "read /a", false},
		{"a rule gives what it names", "read /a", pod, "read /a", true},
		{"a rule does not give what it does not name", "read /a", pod, "update /a", false},
		{"reading implies listing", "read /a", pod, "list /a", true},
		{"creating implies listing", "create /a", pod, "list /a", true},
		{"updating implies listing", "update /a", pod, "list /a", true},
		{"deleting implies listing", "delete /a", pod, "list /a", true},
		{"updating does not imply reading", "update /a", pod, "read /a", false},
		{"updating does not imply creating", "update /a", pod, "create /a", false},
		{"listing does not imply reading", "list /a", pod, "read /a", false},
		{"rules add up", "read /a\nupdate /*", pod, "update /a", true},
		{"deny is nothing that one may be allowed", "deny /a", pod, "deny /a", false},
		{"what is no capability is not allowed", "read,create,update,delete,list /*", pod, "own /a", false},

		// Deny.
		{"deny beats what another rule gives", "read /a/*\ndeny /a/b", pod, "read /a/b", false},
		{"deny beats what a more precise rule gives", "read /a/b\ndeny /*", pod, "read /a/b", false},
		{"deny takes listing away as well", "read /a/*\ndeny /a/b", pod, "list /a/b", false},
		{"deny leaves what it does not match", "read /a/*\ndeny /a/b", pod, "read /a/c", true},
		{"deny beats what the same rule gives", "read,deny /a", pod, "read /a", false},
		{"denying a folder's content does not deny an item of the folder's name", "read /a*\ndeny /a/*", pod, "read /a", true},
		{"denying a name does not deny what lies below", "read /a*\ndeny /a", pod, "read /a/b", true},

		// Types.
		{"a rule on items is not about roles", "read /*", pod, "read role-rule /a", false},
		{"a rule on items is not about auth methods", "read /*", pod, "read auth-method-rule /a", false},
		{"a rule on roles is about roles", "update role-rule /team-a/*", pod, "update role-rule team-a/ci", true},
		{"a rule on auth methods is about auth methods", "read auth-method-rule k8s", pod, "read auth-method-rule /k8s", true},
		{"denying items does not deny roles", "deny /*\nread role-rule /*", pod, "read role-rule /a", true},
		{"a type that does not exist has no objects", "read /*", pod, "read target-rule /a", false},

		// Paths.
		{"a leading slash means nothing in a rule", "read a/b", pod, "read /a/b", true},
		{"a leading slash means nothing in a name", "read /a/b", pod, "read a/b", true},
		{"a path without wildcards is one name", "read /a/b", pod, "read /a/bc", false},
		{"a path is not a part of a name", "read /a/b", pod, "read /x/a/b", false},
		{"case counts in names", "read /a/B", pod, "read /a/b", false},
		{"a space is a character", "read /a b/c d", pod, "read /a b/c d", true},
		{"a letter in another encoding is another letter", "read /caf\u00e9", pod, "read /cafe\u0301", false},
		{"a question mark is no wildcard in paths", "read /a?", pod, "read /ab", false},
		{"a dot is only a dot", "read /a.b", pod, "read /axb", false},

		// The wildcard *.
		{"a star alone matches everything", "read *", pod, "read /a/b/c", true},
		{"a star matches across slashes", "read /a/*", pod, "read /a/b/c", true},
		{"a star does not match the folder itself", "read /a/*", pod, "read /a", false},
		{"a star continues a name", "read /a/web*", pod, "read /a/web-1/key", true},
		{"a star matches nothing as well", "read /a/web*", pod, "read /a/web", true},
		{"a star in the middle needs what follows", "read /a/*/key", pod, "read /a/b/cert", false},
		{"a star in the middle spans segments", "read /a/*/key", pod, "read /a/b/c/key", true},
		{"a star in the middle does not share slashes", "read /a/*/key", pod, "read /a/key", false},
		{"the ends of a path don't overlap", "read /ab*ba", pod, "read /aba", false},
		{"several stars try every place", "read *ab*ab", pod, "read /xabyabzab", true},
		{"several stars fail at the end", "read *ab*ac", pod, "read /xabyabzab", false},

		// The wildcard +.
		{"a plus matches one segment", "read /a/+/key", pod, "read /a/b/key", true},
		{"a plus does not match two segments", "read /a/+/key", pod, "read /a/b/c/key", false},
		{"a plus does not match no segment", "read /a/+/key", pod, "read /a/key", false},
		{"a plus at the end stays in its segment", "read /a/+", pod, "read /a/b/c", false},
		{"a plus continues a name within its segment", "read /a/web+", pod, "read /a/web-1", true},
		{"a plus inside a segment matches nothing as well", "read /a/web+/key", pod, "read /a/web/key", true},
		{"a plus inside a segment stays in it", "read /a/w+b", pod, "read /a/w/b", false},
		{"several pluses match a segment each", "read /+/+/bar/*", pod, "read /any/folder/bar/x", true},
		{"pluses in one segment try every place", "read /+ab+b", pod, "read /xabab", true},
		{"a plus after a star finds a later segment", "read /*/k+y", pod, "read /a/kxx/key", true},

		// Claims.
		{"a claim stands for the identity's value", "read /apps/{{namespace}}/*", pod, "read /apps/team-a/key", true},
		{"a claim does not stand for another value", "read /apps/{{namespace}}/*", pod, "read /apps/team-b/key", false},
		{"a claim does not stand for the start of a segment", "read /apps/{{namespace}}/*", pod, "read /apps/team-ab/key", false},
		{"spaces inside the braces mean nothing", "read /apps/{{ namespace }}/*", pod, "read /apps/team-a/key", true},
		{"fixed text may stand beside a claim", "read /apps/ns-{{namespace}}-x/key", pod, "read /apps/ns-team-a-x/key", true},
		{"two claims may stand in two segments", "read /{{namespace}}/{{pod_name}}", pod, "read /team-a/web-1", true},
		{"both claims must fit", "read /{{namespace}}/{{pod_name}}", pod, "read /team-a/web-2", false},
		{"a claim may follow a star", "read /*/{{pod_name}}", pod, "read /x/y/web-1", true},
		{"after a star, a claim is still a whole segment", "read /*/{{pod_name}}", pod, "read /x/y-web-1", false},
		{"a claim of several values stands for each: the first", "read /{{groups}}/*", pod, "read /dev/x", true},
		{"a claim of several values stands for each: the last", "read /{{groups}}/*", pod, "read /ops/x", true},
		{"a claim of several values stands for no other", "read /{{groups}}/*", pod, "read /devops/x", false},
		{"several values may follow a star", "read /*/g-{{groups}}/x", pod, "read /a/b/g-ops/x", true},
		{"several values after a star are whole segments", "read /*/g-{{groups}}/x", pod, "read /a/b/g-opsx/x", false},
		{"without the claim, a rule gives nothing", "read /apps/{{team}}/*", pod, "read /apps/team-a/key", false},
		{"a claim without values is no claim", "read /apps/{{team}}/*", with("team"), "read /apps/team-a/key", false},
		{"two claims of one value add up", "read /x/{{namespace}}\nupdate /x/{{team}}", claims{"namespace": {"a"}, "team": {"a"}}, "read /x/a", true},
		{"a claim's case counts", "read /apps/{{team}}/*", with("team", "A"), "read /apps/a/key", false},
		{"the name of a claim has a case", "read /apps/{{Namespace}}/*", pod, "read /apps/team-a/key", false},

		// Hostile claims.
		{"a star in a claim matches nothing", "read /apps/{{pod_name}}/*", with("pod_name", "*"), "read /apps/other/key", false},
		{"a plus in a claim matches nothing", "read /apps/{{pod_name}}/*", with("pod_name", "+"), "read /apps/other/key", false},
		{"a slash in a claim adds no segment", "read /apps/{{pod_name}}", with("pod_name", "a/b"), "read /apps/a/b", false},
		{"a slash in one of several values adds no segment", "read /apps/{{pod_name}}", with("pod_name", "a/b", "c", "d"), "read /apps/a/b", false},
		{"braces in a claim are not read again", "read /apps/{{pod_name}}/*", claims{"pod_name": {"{{namespace}}"}, "namespace": {"a"}}, "read /apps/a/key", false},
		{"an empty claim does not remove its segment", "read /apps/{{pod_name}}/*", with("pod_name", ""), "read /apps/key", false},
		{"an empty claim does not complete fixed text", "read /apps/x{{pod_name}}/*", with("pod_name", ""), "read /apps/x/key", false},
		{"dots in a claim lead nowhere", "read /apps/{{pod_name}}/*", with("pod_name", ".."), "read /key", false},
		{"dots in a claim are no text either", "read /apps/x{{pod_name}}/*", with("pod_name", ".."), "read /apps/x../key", false},
		{"a good value counts beside a bad one", "read /apps/{{pod_name}}/*", with("pod_name", "*", "good"), "read /apps/good/key", true},

		// Claims in rules that deny.
		{"deny with a claim denies the identity's value", "read /*\ndeny /s/{{namespace}}/*", pod, "read /s/team-a/x", false},
		{"deny with a claim leaves other values", "read /*\ndeny /s/{{namespace}}/*", pod, "read /s/team-b/x", true},
		{"deny with a claim of several values denies each", "read /*\ndeny /s/{{groups}}/*", pod, "read /s/ops/x", false},
		{"deny with a claim beats a rule with another claim of that value", "deny /x/{{team}}\nread /x/{{namespace}}", claims{"namespace": {"a"}, "team": {"a"}}, "read /x/a", false},
		{"without the claim, deny applies to every value", "read /*\ndeny /s/{{team}}/*", pod, "read /s/any/x", false},
		{"without the claim, deny still applies to its own segment only", "read /*\ndeny /s/{{team}}", pod, "read /s/any/x", true},
		{"without the claim, deny keeps its fixed text", "read /*\ndeny /s/t-{{team}}-x", pod, "read /s/any", true},
		{"a strange value does not escape a deny", "read /*\ndeny /s/{{team}}/*", with("team", "a/b"), "read /s/any/x", false},
		{"a value too long for a name does not escape a deny", "read /*\ndeny /s/{{team}}/*", with("team", strings.Repeat("a", access.MaxValue+1)), "read /s/any/x", false},
		{"a strange value beside a good one does not escape a deny", "read /*\ndeny /s/{{team}}/*", with("team", "good", ""), "read /s/any/x", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			capability, of, path := questionOf(t, tt.ask)
			if got := grantsOf(t, tt.rules, tt.claims).Allow(capability, of, path); got != tt.want {
				t.Errorf("%q with %q and %v: %t", tt.ask, tt.rules, tt.claims, got)
			}
		})
	}
}

func TestAssociations(t *testing.T) {
	t.Parallel()
	pod := claims{"namespace": {"team-a"}, "pod_name": {"web-1"}, "groups": {"Dev", "ops"}}
	type when = map[string]string
	for _, tt := range []struct {
		name   string
		when   when
		ignore bool
		claims claims
		want   bool
	}{
		{"without conditions the role is everybody's", nil, false, nil, true},
		{"a condition holds for the value", when{"namespace": "team-a"}, false, pod, true},
		{"a condition does not hold for another value", when{"namespace": "team-b"}, false, pod, false},
		{"a condition does not hold for a longer value", when{"namespace": "team"}, false, pod, false},
		{"a condition does not hold without the claim", when{"team": "*"}, false, pod, false},
		{"a condition does not hold for a claim without values", when{"team": "*"}, false, claims{"team": {}}, false},
		{"a condition does not hold for an empty value", when{"team": "*"}, false, claims{"team": {""}}, false},
		{"all conditions must hold, and do", when{"namespace": "team-a", "pod_name": "web-1"}, false, pod, true},
		{"all conditions must hold, and one does not", when{"namespace": "team-a", "pod_name": "web-2"}, false, pod, false},
		{"a comma means or: the first", when{"namespace": "team-a,team-b"}, false, pod, true},
		{"a comma means or: the last", when{"namespace": "team-b,team-a"}, false, pod, true},
		{"spaces beside a comma mean nothing", when{"namespace": "team-b , team-a"}, false, pod, true},
		{"one of several values is enough", when{"groups": "ops"}, false, pod, true},
		{"a star matches any text", when{"namespace": "team-*"}, false, pod, true},
		{"a star matches no text", when{"namespace": "team-a*"}, false, pod, true},
		{"a star matches a slash", when{"arn": "a*c"}, false, claims{"arn": {"a/b/c"}}, true},
		{"several stars try every place", when{"arn": "*ab*ab"}, false, claims{"arn": {"abxabab"}}, true},
		{"a question mark matches one character", when{"pod_name": "web-?"}, false, pod, true},
		{"a question mark matches one character of two bytes", when{"city": "K?ln"}, false, claims{"city": {"Köln"}}, true},
		{"a question mark does not match half a character", when{"city": "*??"}, false, claims{"city": {"€"}}, false},
		{"what a star leaves begins with a whole character", when{"city": "*??x*"}, false, claims{"city": {"€xy"}}, false},
		{"a question mark does not match nothing", when{"pod_name": "web-1?"}, false, pod, false},
		{"a plus is only a plus", when{"mail": "a+b"}, false, claims{"mail": {"a-b"}}, false},
		{"case counts unless it is said", when{"groups": "dev"}, false, pod, false},
		{"case does not count if it is said", when{"groups": "dEV"}, true, pod, true},
		{"wildcards work without case", when{"groups": "D*"}, true, claims{"groups": {"dev"}}, true},
		{"without case, a sign that folds to a letter is not that letter", when{"name": "k"}, true, claims{"name": {"\u212a"}}, false},
		{"without case, a long s is no s", when{"name": "s*"}, true, claims{"name": {"\u017fecret"}}, false},
		{"without case, claims' names keep theirs", when{"Groups": "dev"}, true, pod, false},
		{"a wildcard in a value is only text", when{"namespace": "team-b"}, false, claims{"namespace": {"*"}}, false},
		{"a value that is no UTF-8 matches nothing", when{"namespace": "*"}, false, claims{"namespace": {"\xff"}}, false},
		{"a value beyond the limit matches nothing", when{"namespace": "*"}, false, claims{"namespace": {strings.Repeat("a", access.MaxValue+1)}}, false},
		{"a value of the limit's size matches", when{"namespace": "*"}, false, claims{"namespace": {strings.Repeat("a", access.MaxValue)}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			objects := objectsOf("read /a")
			objects.Associations[0].SubClaims = tt.when
			objects.Associations[0].IgnoreCase = tt.ignore
			grants := compile(t, objects).For(access.Identity{AccessID: accessID, SubClaims: tt.claims})
			if got := grants.Allow(access.Read, access.ItemRule, pathOf(t, "/a")); got != tt.want {
				t.Errorf("%v for %v: %t", tt.when, tt.claims, got)
			}
		})
	}
}

func TestRolesOfAnIdentity(t *testing.T) {
	t.Parallel()
	policy := compile(t, access.Objects{
		Roles: []access.Role{
			{Name: "/readers", Rules: rulesOf("read /*")},
			{Name: "writers", Rules: rulesOf("create,update /apps/*")},
			{Name: "not-prod", Rules: rulesOf("deny /apps/prod/*")},
		},
		Associations: []access.Association{
			{Role: "readers", AccessID: accessID, SubClaims: map[string]string{"namespace": "a"}},
			{Role: "/readers", AccessID: accessID, SubClaims: map[string]string{"namespace": "b", "pod_name": "x"}},
			{Role: "writers", AccessID: accessID, SubClaims: map[string]string{"namespace": "b"}},
			{Role: "not-prod", AccessID: accessID, SubClaims: map[string]string{"contractor": "true"}},
			{Role: "writers", AccessID: "p-another12345km"},
		},
	})
	for _, tt := range []struct {
		name, accessID string
		claims         claims
		path, want     string
	}{
		{"an access id without associations has no roles", "p-unknown1234km", claims{"namespace": {"a"}}, "/apps/x", ""},
		{"an empty access id has no roles", "", nil, "/apps/x", ""},
		{"the roles of another access id are not given", "p-another12345km", claims{"namespace": {"a"}}, "/apps/x", "create,update,list"},
		{"one association of several is enough: the first", accessID, claims{"namespace": {"a"}}, "/apps/x", "read,list"},
		{"one association of several is enough: the second", accessID, claims{"namespace": {"b"}, "pod_name": {"x"}}, "/apps/x", "read,create,update,list"},
		{"conditions of two associations don't add up", accessID, claims{"namespace": {"c"}, "pod_name": {"x"}}, "/apps/x", ""},
		{"what one role denies, no other gives", accessID, claims{"namespace": {"a", "b"}, "contractor": {"true"}}, "/apps/prod/x", "deny"},
		{"a role that is not given denies nothing", accessID, claims{"namespace": {"a", "b"}}, "/apps/prod/x", "read,create,update,list"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			grants := policy.For(access.Identity{AccessID: tt.accessID, SubClaims: tt.claims})
			if got := names(grants.Capabilities(access.ItemRule, pathOf(t, tt.path))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, rules, path, want string }{
		{"no rule, no capability", "read /a", "/b", ""},
		{"they are told in a fixed order", "list,delete,read,update,create /a", "/a", "read,create,update,delete,list"},
		{"what is implied is told", "delete /a", "/a", "delete,list"},
		{"those of several rules are joined", "read /a\ndelete /*\nupdate /+", "/a", "read,update,delete,list"},
		{"deny is told alone", "read /*\ndeny /a", "/a", "deny"},
		{"deny is told without any other rule", "deny /a/*", "/a/b", "deny"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := names(grantsOf(t, tt.rules, nil).Capabilities(access.ItemRule, pathOf(t, tt.path))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMayKnow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, rules, path string
		want              bool
	}{
		{"who may list may know", "list /a/*", "/a/missing", true},
		{"who may read may know", "read /a/*", "/a/missing", true},
		{"who may create may know that a name is taken", "create /a/*", "/a/b", true},
		{"who has no rule may not know", "read /a/*", "/b", false},
		{"who is denied may not know", "read /a/*\ndeny /a/b", "/a/b", false},
		{"who may list items may not know of roles", "list /a/*", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			of := access.ItemRule
			if tt.path == "" {
				of, tt.path = access.RoleRule, "/a/b"
			}
			if got := grantsOf(t, tt.rules, nil).MayKnow(of, pathOf(t, tt.path)); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestZeroValuesAllowNothing(t *testing.T) {
	t.Parallel()
	everything := grantsOf(t, "read,create,update,delete,list /*", nil)
	for _, tt := range []struct {
		name   string
		grants access.Grants
		path   access.Path
	}{
		{"grants that nobody made", access.Grants{}, pathOf(t, "/a")},
		{"a policy that is not there", (*access.Policy)(nil).For(access.Identity{AccessID: accessID}), pathOf(t, "/a")},
		{"a policy without objects", compile(t, access.Objects{}).For(access.Identity{AccessID: accessID}), pathOf(t, "/a")},
		{"a path that nobody parsed", everything, access.Path{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, of := range types() {
				for _, c := range all() {
					if tt.grants.Allow(c, of, tt.path) {
						t.Errorf("%s of %s is allowed", c, of)
					}
				}
			}
		})
	}
	if !everything.Allow(access.Delete, access.ItemRule, pathOf(t, "/a")) {
		t.Error("the grants of this test give nothing, so it shows nothing")
	}
}
