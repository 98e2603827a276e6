package injector_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
)

// The documentation lists every annotation and every reason.
func TestTheDocumentationIsComplete(t *testing.T) {
	data, err := os.ReadFile("../docs/annotations.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, a := range injector.Annotations() {
		if !strings.Contains(page, "`"+a.Name+"`") {
			t.Errorf("docs/annotations.md lacks the annotation %s", a.Name)
		}
	}
	for _, reason := range reasons(t) {
		if !strings.Contains(page, "`"+reason+"`") {
			t.Errorf("docs/annotations.md lacks the reason %s", reason)
		}
	}
}

// The profiles that the documentation shows can be loaded.
func TestTheDocumentedProfilesAreValid(t *testing.T) {
	data, err := os.ReadFile("../docs/profiles.md")
	if err != nil {
		t.Fatal(err)
	}
	certificate := profiles(t).Get("default").Agent.CABundle
	blocks := strings.Split(string(data), "```yaml\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("%d examples", len(blocks))
	}
	for _, block := range blocks {
		file, _, _ := strings.Cut(block, "```")
		if _, err := profile.Parse([]byte(file), profile.Options{
			ReadFile:    func(string) ([]byte, error) { return []byte(certificate), nil },
			Overridable: injector.Overridable(),
		}); err != nil {
			t.Errorf("%v in\n%s", err, file)
		}
	}
}

// reasons reads the constants of type Reason from the source.
func reasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "decision.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Reason" {
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				t.Fatalf("a reason that is no literal: %v", spec.Names)
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, value)
		}
		return true
	})
	if len(found) < 15 {
		t.Fatalf("only %d reasons were found in the source", len(found))
	}
	return found
}

// The page for people who come from another injector has each of its keys, in
// the words of the refusals.
func TestTheDocumentationLeadsFromPeersKeysToOurs(t *testing.T) {
	data, err := os.ReadFile("../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		rows[strings.TrimSpace(line)] = true
	}
	for _, peer := range injector.Peers() {
		for _, key := range peer.Keys {
			theirs, ours := key.Theirs, "– "+key.Note
			if strings.HasSuffix(theirs, "-") {
				theirs += "NAME"
			}
			if len(key.Ours) > 0 {
				ours = "`" + strings.Join(key.Ours, "`, `") + "`"
			}
			if row := "| `" + theirs + "` | " + ours + " |"; !rows[row] {
				t.Errorf("docs/migrating.md lacks the row for %s%s:\n%s", peer.Prefix, key.Theirs, row)
			}
		}
	}
}
