package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

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
			<-r.Context().Done()
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

func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	root := newRootCommand()
	for _, cmd := range append(root.Commands(), root) {
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s lacks an example or a summary", cmd.CommandPath())
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
