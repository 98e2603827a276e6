package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatepass/gatepass/agent/gatetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatepass": main})
}

// TestScripts runs the scripts of testdata/script, each a story of commands
// and what they print, against gateways that behave as their path says.
func TestScripts(t *testing.T) {
	t.Parallel()
	podToken := gatetest.Token(t, map[string]any{"sub": "system:serviceaccount:my-ns:my-sa"})
	issued := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	session := gatetest.Token(t, map[string]any{"iat": issued.Unix(), "sub": "system:serviceaccount:my-ns:my-sa"})
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch strings.TrimSuffix(r.URL.Path, "/auth") {
		case "":
			gatetest.Grant(w, session, issued.Add(15*time.Minute))
		case "/denied":
			gatetest.Refuse(w, 403, "unauthorized: bound service accounts mismatch")
		case "/echo":
			gatetest.Refuse(w, 403, "refused "+string(body))
		case "/busy":
			gatetest.Refuse(w, 429, "slow down")
		case "/html":
			_, _ = io.WriteString(w, "<html>welcome</html>")
		case "/redirect":
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		case "/hang":
			gatetest.Hang(w, r)
		}
	}
	url, ca := gatetest.NewServer(t, handler)
	expired := gatetest.Serve(t, ca.Issue(t, gatetest.Leaf{From: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-time.Hour)}), handler)

	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GATEWAY", url)
			env.Setenv("EXPIRED_GATEWAY", expired)
			env.Setenv("SESSION", session)
			env.Setenv("POD_TOKEN", podToken)
			env.Setenv("AUTH", "--access-id=p-abcdefghij12km")
			for name, content := range map[string]string{
				"ca.crt":    ca.PEM(),
				"other.crt": gatetest.NewAuthority(t, "another authority").PEM(),
				"pod-token": podToken + "\n",
				"empty":     "",
			} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(content), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// commands are all commands below one, and itself.
func commands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, child := range cmd.Commands() {
		all = append(all, commands(child)...)
	}
	return all
}

// calls finds the commands that a text calls, and reports flags and arguments that
// they don't have.
func calls(t *testing.T, text string) (called []string) {
	t.Helper()
	// A command's name, and all up to the end of the line, a comment or a pipe.
	calls := regexp.MustCompile(`(?:^|[\s|])gatepass ((?:[a-z0-9][a-z0-9-]* ?)+)((?:[^|>\n\\]|\\\n)*)`)
	flags := regexp.MustCompile(`(?:^|\s)--?([a-z][a-z0-9-]*)`)
	for _, call := range calls.FindAllStringSubmatch(text, -1) {
		root := newRootCommand()
		root.InitDefaultCompletionCmd()
		cmd, rest, err := root.Find(strings.Fields(call[1]))
		if err != nil || len(rest) > 0 {
			t.Errorf("%q: there are arguments: %q, %v", call[0], rest, err)
			continue
		}
		called = append(called, cmd.CommandPath())
		cmd.InitDefaultHelpFlag()
		for _, flag := range flags.FindAllStringSubmatch(call[2], -1) {
			if cmd.Flags().Lookup(flag[1]) == nil && (len(flag[1]) > 1 || cmd.Flags().ShorthandLookup(flag[1]) == nil) {
				t.Errorf("%q: %s has no flag %q", call[0], cmd.CommandPath(), flag[1])
			}
		}
	}
	return called
}

func TestEveryCommandHasAnExampleThatItTakes(t *testing.T) {
	t.Parallel()
	for _, cmd := range commands(newRootCommand()) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			t.Parallel()
			if cmd.Short == "" {
				t.Error("it lacks a summary")
			}
			called := calls(t, cmd.Example)
			if len(called) == 0 {
				t.Fatalf("it lacks an example: %q", cmd.Example)
			}
			for _, other := range called {
				if !strings.HasPrefix(other, cmd.CommandPath()) {
					t.Errorf("an example is of %s", other)
				}
			}
		})
	}
}

func TestTheDocumentationHasEveryCommandAndNoOther(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if len(calls(t, block)) == 0 {
			t.Errorf("it calls no command: %s", block)
		}
	}
	_, table, _ := strings.Cut(string(text), "## All commands")
	table, _, _ = strings.Cut(table, "Updates leave")
	listed := map[string]bool{}
	for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(table, -1) {
		listed["gatepass "+name[1]] = true
	}
	want := map[string]bool{"gatepass completion": true} // made by cobra when it runs
	for _, cmd := range commands(newRootCommand()) {
		if !cmd.HasSubCommands() {
			want[cmd.CommandPath()] = true
		}
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Error(diff)
	}
}

func TestNoCommandTakesAnUnverifiedGateway(t *testing.T) {
	t.Parallel()
	for _, cmd := range commands(newRootCommand()) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if strings.Contains(f.Name, "insecure") || strings.Contains(f.Name, "verify") || f.Usage == "" {
				t.Errorf("%s has --%s: %s", cmd.CommandPath(), f.Name, f.Usage)
			}
		})
	}
}

func TestCommandsThatPrintDataHaveJSON(t *testing.T) {
	t.Parallel()
	for _, cmd := range commands(newRootCommand()) {
		switch cmd.CommandPath() {
		// They have -o, or nothing but a sentence to say.
		case "gatepass inject", "gatepass configure", "gatepass profile delete":
			continue
		}
		if !cmd.HasSubCommands() && cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", cmd.CommandPath())
		}
	}
}

// An empty value is what a variable leaves that is not set.
func TestNoCommandTakesAnEmptyValueForNone(t *testing.T) {
	t.Parallel()
	takes := map[string]bool{}
	for _, cmd := range commands(newRootCommand()) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			root := newRootCommand()
			args := strings.Fields(cmd.CommandPath() + " --" + f.Name + "=")[1:]
			found, rest, err := root.Find(args)
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = root.PersistentPreRunE(found, nil)
			}
			if err == nil {
				takes[f.Name] = true
			} else if !strings.Contains(err.Error(), "--"+f.Name) {
				t.Errorf("%s: %v", args, err)
			}
		})
	}
	want := map[string]bool{"description": true, "filter": true, "pagination-token": true}
	if diff := cmp.Diff(want, takes); diff != "" {
		t.Error(diff)
	}
}

// Both spellings are the same command.
func TestBothSpellingsTakeTheSameFlags(t *testing.T) {
	t.Parallel()
	flags := func(path string) (all []string) {
		cmd, rest, err := newRootCommand().Find(strings.Fields(path))
		if err != nil || len(rest) > 0 {
			t.Errorf("%s: %q, %v", path, rest, err)
			return nil
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) { all = append(all, f.Name+" "+f.Shorthand+" "+f.Value.Type()) })
		return all
	}
	for older, newer := range map[string]string{
		"create-auth-method-k8s": "auth-method create k8s",
		"create-auth-method":     "auth-method create api-key",
		"update-auth-method-k8s": "auth-method update k8s",
		"update-auth-method":     "auth-method update api-key",
		"get-auth-method":        "auth-method get",
		"list-auth-methods":      "auth-method list",
		"delete-auth-method":     "auth-method delete",
	} {
		if diff := cmp.Diff(flags(older), flags(newer)); diff != "" || len(flags(older)) == 0 {
			t.Errorf("%s and %s: %s", older, newer, diff)
		}
	}
}

func TestDefaultIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second, empty, none := write("first", "one"), write("second", "two"), write("empty", ""), filepath.Join(dir, "none")
	for name, tt := range map[string]struct {
		paths         []string
		want, wantErr string
	}{
		"the first file is preferred":                         {[]string{first, second}, "one", ""},
		"the second is read when there is no first":           {[]string{none, second}, "two", ""},
		"a first file that is empty is not passed over":       {[]string{empty, second}, "", "is empty"},
		"with neither, the flag and a way to get it are told": {[]string{none, none}, "", "--k8s-service-account-token-file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := defaultIdentity(tt.paths...)
			if got != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
