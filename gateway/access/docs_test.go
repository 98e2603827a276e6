package access_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
)

// cell is one of a table in docs/access.md. What stands between backquotes is
// code; texts that a comma follows are groups of their own.
type cell string

var (
	inBackquotes = regexp.MustCompile("`([^`]*)`")
	rulesBlock   = regexp.MustCompile("(?s)```text\n(.*?)```")
)

func (c cell) groups() [][]string {
	var all [][]string
	for text := range strings.SplitSeq(string(c), "`, `") {
		text = "`" + strings.Trim(strings.TrimSpace(text), "`") + "`"
		var codes []string
		for _, m := range inBackquotes.FindAllStringSubmatch(text, -1) {
			codes = append(codes, m[1])
		}
		if text != "``" {
			all = append(all, codes)
		}
	}
	return all
}

func (c cell) codes() []string {
	var all []string
	for _, group := range c.groups() {
		all = append(all, group...)
	}
	return all
}

// code is the text of a cell that has one.
func (c cell) code(t *testing.T) string {
	t.Helper()
	codes := c.codes()
	if len(codes) != 1 {
		t.Fatalf("%q is not one text in backquotes", c)
	}
	return codes[0]
}

// tables returns the rows of the page's tables by their headers.
func tables(page string) map[string][][]cell {
	found := map[string][][]cell{}
	header := ""
	for line := range strings.Lines(page) {
		switch {
		case !strings.HasPrefix(line, "|"):
			header = ""
		case header == "":
			header = strings.Trim(line, "| \n")
		case !strings.HasPrefix(line, "| ---"):
			var row []cell
			for text := range strings.SplitSeq(strings.Trim(line, "|\n"), "|") {
				row = append(row, cell(strings.TrimSpace(text)))
			}
			found[header] = append(found[header], row)
		}
	}
	return found
}

func TestTheDocumentationIsTrue(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	example := rulesBlock.FindStringSubmatch(page)
	if example == nil {
		t.Fatal("docs/access.md has no example")
	}
	answers := grantsOf(t, regexp.MustCompile(` +`).ReplaceAllString(example[1], " "), nil)
	run := map[string]func(*testing.T, []cell){
		"Rule type | The path names": documentedType,
		"Capability | Lets":          documentedCapability,
		"Asked | Answer": func(t *testing.T, row []cell) {
			t.Helper()
			capability, of, path := questionOf(t, row[0].code(t))
			answer(t, row, row[1] == "yes", answers.Allow(capability, of, path))
		},
		"Path of the rule | Applies to | Does not apply to": func(t *testing.T, row []cell) {
			t.Helper()
			documentedPath(t, []cell{row[0], "", row[1], row[2]})
		},
		"Path of the rule | Sub-claims | Applies to | Does not apply to": documentedPath,
		"Name":                 documentedName,
		"Path that is refused": documentedRefusal,
		"Condition | Holds for | Does not hold for": documentedCondition,
	}
	found := tables(page)
	for header, rows := range found {
		if run[header] == nil {
			t.Errorf("no test for the table %q", header)
			continue
		}
		for _, row := range rows {
			run[header](t, row)
		}
	}
	for header := range run {
		if len(found[header]) < 3 {
			t.Errorf("the table %q has %d rows", header, len(found[header]))
		}
	}
}

func answer(t *testing.T, row []cell, want, got bool) {
	t.Helper()
	if got != want {
		t.Errorf("docs/access.md says %t, the package %t: %s", want, got, row)
	}
}

func accepted(rule string) bool {
	_, err := access.Compile(objectsOf(rule))
	return err == nil
}

func documentedType(t *testing.T, row []cell) {
	t.Helper()
	answer(t, row, true, accepted("read "+row[0].code(t)+" /a"))
}

func documentedCapability(t *testing.T, row []cell) {
	t.Helper()
	capability := row[0].code(t)
	grants := grantsOf(t, capability+" /a", nil)
	answer(t, row, capability != "deny", grants.Allow(access.Capability(capability), access.ItemRule, pathOf(t, "/a")))
	answer(t, row, capability != "deny", grants.Allow(access.List, access.ItemRule, pathOf(t, "/a")))
}

func documentedPath(t *testing.T, row []cell) {
	t.Helper()
	grants := grantsOf(t, "read "+row[0].code(t), claimsOf(row[1].codes()))
	for i, want := range map[int]bool{2: true, 3: false} {
		for _, name := range row[i].codes() {
			answer(t, append(row, cell(name)), want, grants.Allow(access.Read, access.ItemRule, pathOf(t, name)))
		}
	}
}

func documentedName(t *testing.T, row []cell) {
	t.Helper()
	refused := strings.HasPrefix(string(row[1]), "refused")
	for _, name := range row[0].codes() {
		_, err := access.ParsePath(name)
		answer(t, append(row, cell(name)), !refused, err == nil)
	}
}

func documentedRefusal(t *testing.T, row []cell) {
	t.Helper()
	answer(t, row, false, accepted("read "+row[0].code(t)))
}

func documentedCondition(t *testing.T, row []cell) {
	t.Helper()
	objects := objectsOf("read /a")
	objects.Associations[0].SubClaims = map[string]string{}
	for _, condition := range row[0].codes() {
		name, patterns, _ := strings.Cut(condition, "=")
		objects.Associations[0].SubClaims[name] = patterns
	}
	policy := compile(t, objects)
	for i, want := range map[int]bool{1: true, 2: false} {
		for _, claims := range row[i].groups() {
			grants := policy.For(access.Identity{AccessID: accessID, SubClaims: claimsOf(claims)})
			answer(t, append(row, cell(strings.Join(claims, " "))), want, grants.Allow(access.Read, access.ItemRule, pathOf(t, "/a")))
		}
	}
}
