package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports holds the agent to the standard library, its own packages and
// the compiled-in authorities: it runs in every pod, beside every application.
func TestImports(t *testing.T) {
	t.Parallel()
	const module = "github.com/gatepass/gatepass/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 3 {
		t.Fatalf("go list found %q only", packages)
	}
	for _, p := range packages {
		switch {
		case p == "golang.org/x/crypto/x509roots/fallback/bundle":
		case p == module+"cmd/gatepass-agent", p == module+"agent", strings.HasPrefix(p, module+"agent/") && p != module+"agent/gatetest":
		default:
			t.Errorf("the agent imports %s", p)
		}
	}
}
