package config

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// harmlessVariables are what the agent's program reads from its environment
// beside its settings, and what they can do to it.
func harmlessVariables() map[string]string {
	return map[string]string{
		"ASR_CONFIG":                       "Plan 9",
		"APPDATA":                          "Windows",
		"LOCALAPPDATA":                     "Windows",
		"CRASHOUTPUT":                      "a monitor of the process itself",
		"DEBUG_HTTP2_GOROUTINES":           "checks of HTTP/2, which the agent does not speak",
		"GOGC":                             "garbage collection",
		"GOMAXPROCS":                       "threads",
		"GOMEMLIMIT":                       "garbage collection",
		"GORACE":                           "race detector builds",
		"GOROOT":                           "source paths",
		"GOTRACEBACK":                      "how long the trace of a crash is; the agent is not dumpable",
		"GO_GETRANDOM_DISABLED":            "tests of Go",
		"HOME":                             "not used for files of ours",
		"HOSTALIASES":                      "not read by Go's resolver, and TLS names the gateway",
		"LOCALDOMAIN":                      "which resolver, and TLS names the gateway",
		"PATH":                             "the agent starts no program",
		"PWD":                              "the agent's paths are absolute",
		"REQUEST_METHOD":                   "CGI: ignores HTTP_PROXY",
		"RES_OPTIONS":                      "which resolver, and TLS names the gateway",
		"TMPDIR":                           "the agent's files have paths of their own",
		"TZ":                               "times in logs",
		"XDG_CACHE_HOME":                   "not used for files of ours",
		"XDG_CONFIG_HOME":                  "not used for files of ours",
		"ZONEINFO":                         "times in logs",
		"HTTP_PROXY":                       "sees encrypted bytes only",
		"HTTPS_PROXY":                      "sees encrypted bytes only",
		"NO_PROXY":                         "as HTTPS_PROXY",
		"GO_RUNTIME_DEBUG_TEST_ENTRYPOINT": "tests of Go",
	}
}

// A variable that Go's library begins to read must be looked at before a new
// Go is taken: whoever may add a variable to the agent may add this one.
func TestEveryVariableThatTheAgentReadsIsKnown(t *testing.T) {
	known := harmlessVariables()
	for _, name := range (Config{}).runtimeVariables() {
		known[name] = "sealed"
	}
	found := variablesRead(t)
	for _, name := range found {
		if known[name] == "" && !strings.HasPrefix(name, "GATEPASS_") {
			t.Errorf("the agent's program reads %s; seal it in runtimeVariables, or list why it is harmless", name)
		}
	}
	for _, name := range []string{"GODEBUG", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOMEMLIMIT"} {
		if !slices.Contains(found, name) {
			t.Errorf("%s was not found: this test sees nothing", name)
		}
	}
}

// variablesRead lists the names that appear as arguments of functions that read
// the environment, in the packages that the agent is built from.
func variablesRead(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Dir,GoFiles", "../../cmd/gatepass-agent").Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			Dir     string
			GoFiles []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		constants := map[string]string{}
		var files []*ast.File
		for _, name := range pkg.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
			collectConstants(file, constants)
		}
		for _, file := range files {
			names = append(names, readIn(file, constants)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func collectConstants(file *ast.File, into map[string]string) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, value := range spec.Values {
			if text, ok := literal(value); ok && i < len(spec.Names) {
				into[spec.Names[i].Name] = text
			}
		}
		return true
	})
}

func readIn(file *ast.File, constants map[string]string) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch f := call.Fun.(type) {
		case *ast.Ident:
			if !slices.Contains([]string{"gogetenv", "Getenv", "LookupEnv", "getEnvAny"}, f.Name) {
				return true
			}
		case *ast.SelectorExpr:
			if !slices.Contains([]string{"Getenv", "LookupEnv"}, f.Sel.Name) {
				return true
			}
		default:
			return true
		}
		for _, arg := range call.Args {
			if text, ok := literal(arg); ok {
				names = append(names, strings.ToUpper(text))
			} else if id, ok := arg.(*ast.Ident); ok && constants[id.Name] != "" {
				names = append(names, constants[id.Name])
			}
		}
		return true
	})
	return names
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}
