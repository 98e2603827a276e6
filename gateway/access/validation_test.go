package access_test

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gatepass/gatepass/gateway/access"
)

func TestParsePath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string // want empty: refused
	}{
		{"a name keeps its leading slash", "/a/b", "/a/b"},
		{"a name without a leading slash gets one", "a/b", "/a/b"},
		{"dots are fine beside other text", "/a.b/..c/.d", "/a.b/..c/.d"},
		{"letters of every script are fine", "/Köln/東京", "/Köln/東京"},
		{"a space inside a segment is fine", "/a b", "/a b"},
		{"punctuation is fine", "/a:b@c?d=e&f%2F#~\\", "/a:b@c?d=e&f%2F#~\\"},
		{"the replacement character itself is fine", "/a\ufffd", "/a\ufffd"},
		{"a name of the greatest length is fine", "/" + strings.Repeat("a", access.MaxPath), "/" + strings.Repeat("a", access.MaxPath)},
		{"a name beyond the greatest length is refused", "/" + strings.Repeat("a", access.MaxPath+1), ""},
		{"an empty name is refused", "", ""},
		{"a slash alone is refused", "/", ""},
		{"two leading slashes are refused", "//a", ""},
		{"a double slash is refused", "/a//b", ""},
		{"a trailing slash is refused", "/a/", ""},
		{"a segment of one dot is refused", "/a/./b", ""},
		{"a segment of two dots is refused", "/a/../b", ""},
		{"two dots at the end are refused", "/a/..", ""},
		{"NUL is refused", "/a\x00b", ""},
		{"a line feed is refused", "/a\nb", ""},
		{"DEL is refused", "/a\x7f", ""},
		{"bytes that are no UTF-8 are refused", "/a\xffb", ""},
		{"half a character is refused", "/a\xc3", ""},
		{"an encoded surrogate is refused", "/a\xed\xa0\x80", ""},
		{"a slash in an overlong encoding is refused", "/a\xc0\xafb", ""},
		{"a space of no width is refused", "/a\u200bb", ""},
		{"a change of direction is refused", "/a\u202eb", ""},
		{"a byte order mark is refused", "\ufeff/a", ""},
		{"a space that does not break is refused", "/a\u00a0b", ""},
		{"a space before a slash is refused", "/a /b", ""},
		{"a space after a slash is refused", "/a/ b", ""},
		{"a space at the end is refused", "/a ", ""},
		{"a star is refused", "/a/*", ""},
		{"a plus is refused", "/a+b", ""},
		{"a brace is refused", "/a/{b", ""},
		{"a claim is refused", "/a/{{namespace}}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := access.ParsePath(tt.in)
			switch {
			case tt.want == "" && err == nil:
				t.Errorf("%q is accepted as %s", tt.in, got)
			case tt.want != "" && err != nil:
				t.Errorf("%q: %v", tt.in, err)
			case tt.want != "" && (got.String() != tt.want || "/"+got.Name() != tt.want):
				t.Errorf("%q is %q and %q", tt.in, got.String(), got.Name())
			}
		})
	}
}

func TestEqualNamesAreEqualPaths(t *testing.T) {
	t.Parallel()
	if with, without := pathOf(t, "/a/b"), pathOf(t, "a/b"); with != without {
		t.Errorf("%v and %v", with, without)
	}
}

func TestCompileRefusesRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, rule, at, says string }{
		{"an empty path", "read ", "path", "Required"},
		{"a slash alone", "read /", "path", "slash"},
		{"a trailing slash", "read /a/", "path", "slash"},
		{"a double slash", "read /a//*", "path", "slash"},
		{"a segment of two dots", "read /a/../b", "path", `".."`},
		{"a control character", "read /a\x00", "path", "U+0000"},
		{"bytes that are no UTF-8", "read /a\xff", "path", "UTF-8"},
		{"a path beyond the greatest length", "read /" + strings.Repeat("a", access.MaxPath+1), "path", "1024"},
		{"two stars side by side", "read /a/**", "path", "side by side"},
		{"a star and a plus side by side", "read /a/*+", "path", "side by side"},
		{"more wildcards than can be matched fast", "read " + strings.Repeat("/+", access.MaxVariables+1), "path", "at most 8"},
		{"one brace", "read /a/{b}", "path", "{{namespace}}"},
		{"a claim that does not end", "read /a/{{namespace", "path", "{{namespace}}"},
		{"a claim that does not begin", "read /a/namespace}}", "path", "{{namespace}}"},
		{"a claim in a claim", "read /a/{{a{{b}}}}", "path", "fixed text"},
		{"a claim without a name", "read /a/{{}}", "path", "must name a claim"},
		{"a claim with a space in its name", "read /a/{{pod name}}", "path", "must name a claim"},
		{"a claim with a name beyond the greatest length", "read /a/{{" + strings.Repeat("b", 129) + "}}", "path", "must name a claim"},
		{"a claim across a slash", "read /a/{{b/c}}", "path", "{{namespace}}"},
		{"a star right behind a claim", "read /a/{{namespace}}*", "path", "fixed text"},
		{"a plus in a claim's segment", "read /a/+-{{namespace}}", "path", "fixed text"},
		{"two claims in one segment", "read /a/{{namespace}}-{{pod_name}}", "path", "fixed text"},
		{"a claim twice", "read /{{namespace}}/{{namespace}}", "path", "only once"},
		{"a type of the API that the gateway doesn't have", "read target-rule /a", "type", "item-rule"},
		{"a type that does not exist", "read folder-rule /a", "type", "item-rule"},
		{"a capability that does not exist", "write /a", "capabilities[0]", "read"},
		{"a capability in another case", "read,Deny /a", "capabilities[1]", "deny"},
		{"an empty capability", " /a", "capabilities[0]", "read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			errs := fieldErrors(t, objectsOf(tt.rule))
			if len(errs) != 1 || errs[0].Field != "roles[0].rules[0]."+tt.at || !strings.Contains(errs[0].Error(), tt.says) {
				t.Errorf("%q: %v", tt.rule, errs)
			}
			rule := &rulesOf(tt.rule)[0]
			if own := rule.Validate(field.NewPath("rule")); len(own) != 1 || own[0].Field != "rule."+tt.at {
				t.Errorf("%q by itself: %v", tt.rule, own)
			}
		})
	}
}

func TestCompileRefusesAssociations(t *testing.T) {
	t.Parallel()
	when := func(name, value string) access.Association {
		return access.Association{Role: "r", AccessID: accessID, SubClaims: map[string]string{name: value}}
	}
	for _, tt := range []struct {
		name     string
		a        access.Association
		at, says string
	}{
		{"no role", access.Association{AccessID: accessID}, "role", "Required"},
		{"a role that does not exist", access.Association{Role: "q", AccessID: accessID}, "role", "Not found"},
		{"a role in another case", access.Association{Role: "R", AccessID: accessID}, "role", "Not found"},
		{"no access id", access.Association{Role: "r"}, "accessID", "Required"},
		{"an empty condition", when("namespace", ""), "subClaims[namespace]", "* is any value"},
		{"an empty pattern among others", when("namespace", "a,,b"), "subClaims[namespace]", "commas"},
		{"a trailing comma", when("namespace", "a,"), "subClaims[namespace]", "commas"},
		{"a pattern with a control character", when("namespace", "a\x00"), "subClaims[namespace]", "printable"},
		{"a pattern that is no UTF-8", when("namespace", "a\xff"), "subClaims[namespace]", "printable"},
		{"a condition beyond the greatest length", when("namespace", strings.Repeat("a", access.MaxPatterns+1)), "subClaims[namespace]", "4096"},
		{"a claim without a name", when("", "a"), "subClaims", "not the name of a claim"},
		{"a claim with a wildcard in its name", when("pod*", "a"), "subClaims", "not the name of a claim"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			objects := objectsOf("read /a")
			objects.Associations = []access.Association{tt.a}
			errs := fieldErrors(t, objects)
			if len(errs) != 1 || errs[0].Field != "associations[0]."+tt.at || !strings.Contains(errs[0].Error(), tt.says) {
				t.Errorf("got %v", errs)
			}
			if own := tt.a.Validate(field.NewPath("a")); tt.says != "Not found" && (len(own) != 1 || own[0].Field != "a."+tt.at) {
				t.Errorf("by itself: %v", own)
			}
		})
	}
}

func TestCompileReportsEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	errs := fieldErrors(t, access.Objects{
		Roles: []access.Role{
			{Name: "", Rules: rulesOf("read /a//b")},
			{Name: "x", Rules: rulesOf("read /a\nupdate a\nread role-rule a")},
			{Name: "/x", Rules: []access.Rule{{Type: access.ItemRule, Path: "/y"}}},
			{Name: "a/*"},
		},
		Associations: []access.Association{{Role: "x"}, {Role: "z", AccessID: accessID, SubClaims: map[string]string{"b": ",", "a": ","}}},
	})
	want := []string{
		"roles[0].name", "roles[0].rules[0].path",
		"roles[1].rules[1].path",
		"roles[2].name", "roles[2].rules[0].capabilities",
		"roles[3].name",
		"associations[0].accessID",
		"associations[1].subClaims[a]", "associations[1].subClaims[b]", "associations[1].role",
	}
	got := make([]string, 0, len(errs))
	for _, err := range errs {
		got = append(got, err.Field)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// An error goes into logs and answers; what was sent must not flood them.
func TestErrorsAreShort(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 1<<16)
	_, err := access.Compile(access.Objects{
		Roles: []access.Role{{Name: long, Rules: []access.Rule{{
			Type: access.RuleType(long), Path: long, Capabilities: []access.Capability{access.Capability(long)},
		}}}},
		Associations: []access.Association{{Role: long, AccessID: accessID, SubClaims: map[string]string{long: "a", "b": long}}},
	})
	if err == nil || len(err.Error()) > 2048 {
		t.Errorf("%d bytes", len(err.Error()))
	}
}

// fieldErrors are what Compile finds wrong.
func fieldErrors(t *testing.T, o access.Objects) []*field.Error {
	t.Helper()
	_, err := access.Compile(o)
	var joined interface{ Errors() []error }
	if !errors.As(err, &joined) {
		t.Fatalf("got %v", err)
	}
	var list []*field.Error
	for _, err := range joined.Errors() {
		var one *field.Error
		if !errors.As(err, &one) {
			t.Fatalf("no field's error: %v", err)
		}
		list = append(list, one)
	}
	return list
}
