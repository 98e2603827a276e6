// Package test holds rules about the whole repository.
package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/repo"
)

const module = "github.com/gatepass/gatepass"

// list runs `go list` in the root module.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
	}
	packages := strings.Fields(string(out))
	if len(packages) == 0 {
		t.Fatalf("go list %s found nothing", strings.Join(args, " "))
	}
	return packages
}

// under reports whether a package is one of the trees, or inside of one.
func under(pkg string, trees ...string) bool {
	for _, tree := range trees {
		if pkg == tree || strings.HasPrefix(pkg, tree+"/") {
			return true
		}
	}
	return false
}

// own expands folders to this module's import paths.
func own(folders ...string) []string {
	trees := make([]string, 0, len(folders))
	for _, f := range folders {
		trees = append(trees, module+"/"+f)
	}
	return trees
}

// dependencies lists what the packages of folders import, however indirectly.
func dependencies(t *testing.T, folders ...string) []string {
	t.Helper()
	args := []string{"-deps"}
	for _, f := range folders {
		args = append(args, "./"+f)
	}
	return list(t, args...)
}

func TestTheAgentIsFreeOfEverythingButStandardLibraryAndRoots(t *testing.T) {
	allowed := append(own("agent", "cmd/gatepass-agent"), "golang.org/x/crypto/x509roots/fallback/bundle")
	for _, pkg := range dependencies(t, "agent/...", "cmd/gatepass-agent") {
		first, _, _ := strings.Cut(pkg, "/")
		standard := !strings.Contains(first, ".")
		if !standard && !under(pkg, allowed...) {
			t.Errorf("the agent imports %s", pkg)
		}
	}
}

func TestImportDirections(t *testing.T) {
	for _, row := range []struct {
		name      string
		folders   []string
		forbidden []string // and everything inside
	}{
		{
			"the injector has no network, no cluster and nothing of ours but the contract with the agent",
			[]string{"injector/..."},
			append(own("webhook", "gateway", "certs", "cmd", "agent/login", "agent/session"), "sigs.k8s.io/controller-runtime", "k8s.io/client-go"),
		},
		{"the webhook knows neither gateway nor certs nor the agent's insides", []string{"webhook/..."}, own("gateway", "certs", "cmd", "agent/login", "agent/session")},
		{"the gateway knows none of the other parts", []string{"gateway/..."}, own("webhook", "injector", "certs", "cmd", "agent")},
		{"certs knows none of the other parts", []string{"certs/..."}, own("webhook", "injector", "gateway", "cmd", "agent")},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, pkg := range dependencies(t, row.folders...) {
				if under(pkg, row.forbidden...) {
					t.Errorf("it imports %s", pkg)
				}
			}
		})
	}
}

// Who may do what is decided without a look at anything but the rules and the
// identity: no network, no chance, none of our other packages.
func TestAccessDecisionsAreFreeOfEverythingElse(t *testing.T) {
	for _, pkg := range dependencies(t, "gateway/access/...") {
		if under(pkg, module) && !under(pkg, own("gateway/access")...) || under(pkg, "net", "os/exec", "math/rand", "k8s.io/client-go", "sigs.k8s.io/controller-runtime") {
			t.Errorf("access imports %s", pkg)
		}
	}
}

func TestTheContractWithTheAgentImportsTheStandardLibraryOnly(t *testing.T) {
	for _, pkg := range dependencies(t, "agent/config") {
		first, _, _ := strings.Cut(pkg, "/")
		if strings.Contains(first, ".") && pkg != module+"/agent/config" {
			t.Errorf("agent/config imports %s", pkg)
		}
	}
}

func TestNothingImportsCmd(t *testing.T) {
	const format = `{{$p := .ImportPath}}{{range .Imports}}{{$p}}>{{.}}{{"\n"}}{{end}}{{range .TestImports}}{{$p}}>{{.}}{{"\n"}}{{end}}`
	for _, edge := range list(t, "-f", format, "./...") {
		from, to, _ := strings.Cut(edge, ">")
		if under(to, own("cmd")...) && !under(from, own("cmd")...) {
			t.Errorf("%s imports %s", from, to)
		}
	}
}

// Programs may do nothing but wire: a package that only a test needs must not
// be linked into them either.
func TestCommandsCarryNoTestCode(t *testing.T) {
	for _, pkg := range dependencies(t, "cmd/...") {
		if pkg == "testing" || under(pkg, "go.uber.org/goleak", "sigs.k8s.io/controller-runtime/pkg/envtest") {
			t.Errorf("a command imports %s", pkg)
		}
	}
}

func TestTheProductDoesNotRequireTheKubernetesServer(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"go.mod", filepath.Join("test", "go.mod")} {
		content, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(content), "\n") {
			if words := strings.Fields(line); len(words) > 0 && (words[0] == "k8s.io/kubernetes" || words[0] == "require" && len(words) > 1 && words[1] == "k8s.io/kubernetes") {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
}
