package access_test

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatepass/gatepass/gateway/access"
)

// The oracle answers what the package answers, by regular expressions made
// from the texts at the moment of the question. It shares no code with it.

var (
	variable     = regexp.MustCompile(`\{\{ *([A-Za-z0-9_.:-]{1,128}) *\}\}|\*|\+`)
	claimSegment = regexp.MustCompile(`^[^*+{}]*\{\{ *[A-Za-z0-9_.:-]{1,128} *\}\}[^*+{}]*$`)
	plainSegment = regexp.MustCompile(`^[^{}]*$`)
	sideBySide   = regexp.MustCompile(`[*+][*+]`)
	claimName    = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)
)

// oracleCapabilities are those that an identity has on an object.
func oracleCapabilities(o access.Objects, id access.Identity, of access.RuleType, name string) []access.Capability {
	var got []access.Capability
	for _, a := range o.Associations {
		if a.AccessID != id.AccessID || !oracleHolds(a, id.SubClaims) {
			continue
		}
		for _, role := range o.Roles {
			if strings.TrimPrefix(role.Name, "/") != strings.TrimPrefix(a.Role, "/") {
				continue
			}
			for _, rule := range role.Rules {
				if rule.Type == of && oracleMatches(rule, id.SubClaims, name) {
					got = append(got, rule.Capabilities...)
				}
			}
		}
	}
	if slices.Contains(got, access.Deny) {
		return []access.Capability{access.Deny}
	}
	if len(got) > 0 {
		got = append(got, access.List)
	}
	return slices.DeleteFunc(all(), func(c access.Capability) bool { return !slices.Contains(got, c) })
}

func oracleHolds(a access.Association, claims claims) bool {
	small := func(s string) string {
		if !a.IgnoreCase {
			return s
		}
		return regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(s, strings.ToLower)
	}
	for name, patterns := range a.SubClaims {
		var wanted []string
		for _, p := range strings.Split(patterns, ",") {
			p = regexp.QuoteMeta(small(strings.TrimSpace(p)))
			p = strings.ReplaceAll(strings.ReplaceAll(p, `\*`, `.*`), `\?`, `.`)
			wanted = append(wanted, p)
		}
		either := regexp.MustCompile(`(?s)^(?:` + strings.Join(wanted, "|") + `)$`)
		if !slices.ContainsFunc(claims[name], func(v string) bool {
			return v != "" && len(v) <= 1024 && utf8.ValidString(v) && either.MatchString(small(v))
		}) {
			return false
		}
	}
	return true
}

func oracleMatches(rule access.Rule, claims claims, name string) bool {
	path := strings.TrimPrefix(rule.Path, "/")
	deny := slices.Contains(rule.Capabilities, access.Deny)
	var expression strings.Builder
	expression.WriteString(`(?s)^`)
	end := 0
	for _, at := range variable.FindAllStringSubmatchIndex(path, -1) {
		expression.WriteString(regexp.QuoteMeta(path[end:at[0]]))
		end = at[1]
		switch path[at[0]:end] {
		case "*":
			expression.WriteString(`.*`)
			continue
		case "+":
			expression.WriteString(`[^/]*`)
			continue
		}
		values := claims[path[at[2]:at[3]]]
		var quoted []string
		for _, v := range values {
			if oracleName(v) && !strings.Contains(v, "/") {
				quoted = append(quoted, regexp.QuoteMeta(v))
			}
		}
		switch {
		case deny && (len(values) == 0 || len(quoted) < len(values)):
			expression.WriteString(`[^/]*`)
		case len(quoted) == 0:
			return false
		default:
			expression.WriteString(`(?:` + strings.Join(quoted, "|") + `)`)
		}
	}
	expression.WriteString(regexp.QuoteMeta(path[end:]) + `$`)
	return regexp.MustCompile(expression.String()).MatchString(strings.TrimPrefix(name, "/"))
}

// oracleName says whether a text is the name of an object.
func oracleName(name string) bool {
	return oracleSegments(name) && !strings.ContainsAny(name, "*+{}")
}

func oracleSegments(path string) bool {
	path = strings.TrimPrefix(path, "/")
	for _, s := range strings.Split(path, "/") {
		if s == "" || s == "." || s == ".." || strings.Trim(s, " ") != s {
			return false
		}
	}
	return utf8.ValidString(path) && len(path) <= 1024 && !strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) })
}

// oracleValid says whether Compile takes a role's rule.
func oracleValid(rule access.Rule) bool {
	path := strings.TrimPrefix(rule.Path, "/")
	for _, s := range strings.Split(path, "/") {
		if !claimSegment.MatchString(s) && (!plainSegment.MatchString(s) || sideBySide.MatchString(s)) {
			return false
		}
	}
	var names []string
	for _, m := range variable.FindAllStringSubmatch(path, -1) {
		if m[1] != "" && slices.Contains(names, m[1]) {
			return false
		}
		names = append(names, m[1])
	}
	known := !slices.ContainsFunc(rule.Capabilities, func(c access.Capability) bool { return c != access.Deny && !slices.Contains(all(), c) })
	return len(names) <= 8 && known && slices.Contains(types(), rule.Type) && oracleSegments(rule.Path)
}

// oracleConditions says whether Compile takes an association's conditions.
func oracleConditions(conditions map[string]string) bool {
	for name, patterns := range conditions {
		if !claimName.MatchString(name) || len(patterns) > 4096 {
			return false
		}
		for _, p := range strings.Split(patterns, ",") {
			p = strings.TrimSpace(p)
			if p == "" || !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) }) {
				return false
			}
		}
	}
	return true
}
