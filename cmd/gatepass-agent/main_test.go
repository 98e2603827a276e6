package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/agent"
	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/gatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// surroundings returns an environment in which a login at url can succeed,
// and the folder that it writes to.
func surroundings(t *testing.T, url, ca string) (env map[string]string, dir string) {
	t.Helper()
	dir = t.TempDir()
	identity := filepath.Join(dir, "identity")
	if err := os.WriteFile(identity, []byte(gatetest.Token(t, map[string]any{"sub": "pod"})), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"GATEPASS_GATEWAY_URL": url, "GATEPASS_CA_BUNDLE": ca,
		"GATEPASS_ACCESS_ID": "p-abcdefghij12km", "GATEPASS_AUTH_CONFIG": "k8s-conf",
		"GATEPASS_IDENTITY_FILE": identity, "GATEPASS_TOKEN_FILE": filepath.Join(dir, "token"),
		"GATEPASS_TERMINATION_MESSAGE_FILE": filepath.Join(dir, "message"),
	}, dir
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRun(t *testing.T) {
	t.Parallel()
	granting := func(w http.ResponseWriter, _ *http.Request) {
		gatetest.Grant(w, "the-session-token", time.Now().Add(time.Hour))
	}
	t.Run("the environment is enough, and success leaves no termination message", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, granting)
		env, dir := surroundings(t, url, ca.PEM())
		var stderr bytes.Buffer
		if code := run(t.Context(), nil, lookup(env), io.Discard, &stderr); code != agent.ExitOK {
			t.Fatalf("code %d: %s", code, stderr.String())
		}
		if got := read(t, dir, "token"); got != "the-session-token" {
			t.Errorf("token is %q", got)
		}
		if _, err := os.Stat(filepath.Join(dir, "message")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("there is a termination message: %v", err)
		}
		lines := bufio.NewScanner(&stderr)
		for lines.Scan() {
			var line map[string]any
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line["msg"] == "" {
				t.Errorf("a line of the log is not JSON: %s", lines.Text())
			}
		}
	})
	t.Run("a flag wins over its variable", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, granting)
		env, dir := surroundings(t, "https://wrong.invalid", ca.PEM())
		var stderr bytes.Buffer
		args := []string{"--gateway-url", url, "-token-mode=0444"}
		if code := run(t.Context(), args, lookup(env), io.Discard, &stderr); code != agent.ExitOK {
			t.Fatalf("code %d: %s", code, stderr.String())
		}
		if info, err := os.Stat(filepath.Join(dir, "token")); err != nil || info.Mode() != 0o444 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("a denial is told to the kubelet in one line", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) { gatetest.Refuse(w, 403, "no such\nluck") })
		env, dir := surroundings(t, url, ca.PEM())
		env["GATEPASS_TIMEOUT"] = "1s"
		if code := run(t.Context(), nil, lookup(env), io.Discard, io.Discard); code != agent.ExitDenied {
			t.Errorf("code %d", code)
		}
		if got, want := read(t, dir, "message"), "gatepass-agent: the gateway denied the login (403 Forbidden): no such luck"; got != want {
			t.Errorf("message is %q, want %q", got, want)
		}
	})
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		env  map[string]string
		want []string
	}{
		"all missing settings are told at once": {nil, nil, []string{"GATEPASS_GATEWAY_URL: ", "GATEPASS_ACCESS_ID: ", "GATEPASS_AUTH_CONFIG: "}},
		"a wrong variable is named":             {nil, map[string]string{"GATEPASS_TIMEOUT": "soon"}, []string{`GATEPASS_TIMEOUT: "soon" is not a duration`}},
		"a wrong flag is named":                 {[]string{"--mode", "once"}, nil, []string{"-mode", "once", "--help"}},
		"an unknown flag is named":              {[]string{"--insecure"}, nil, []string{"-insecure", "--help"}},
		"an argument is refused":                {[]string{"login"}, nil, []string{`unexpected argument "login"`}},
		"a revocation in mode init is refused":  {[]string{"--revoke-on-exit=true", "--gateway-url=https://g", "--access-id=a", "--auth-config=b"}, nil, []string{"GATEPASS_REVOKE_ON_EXIT: needs mode sidecar"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message := filepath.Join(t.TempDir(), "message")
			env := map[string]string{"GATEPASS_TERMINATION_MESSAGE_FILE": message}
			for k, v := range tt.env {
				env[k] = v
			}
			if code := run(t.Context(), tt.args, lookup(env), io.Discard, io.Discard); code != agent.ExitConfig {
				t.Errorf("code %d", code)
			}
			got := read(t, message)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("message %q lacks %q", got, want)
				}
			}
		})
	}
}

// The hook of a sidecar runs beside the agent, which says the cause itself.
func TestTheHookLeavesTheTerminationMessageAlone(t *testing.T) {
	t.Parallel()
	message := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(message, []byte("the agent's own words"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	env := lookup(map[string]string{"GATEPASS_TERMINATION_MESSAGE_FILE": message})
	if code := run(t.Context(), []string{"wait"}, env, io.Discard, &said); code != agent.ExitConfig || !strings.Contains(said.String(), "GATEPASS_GATEWAY_URL") {
		t.Errorf("code %d, %q", code, said.String())
	}
	if got := read(t, message); got != "the agent's own words" {
		t.Errorf("the message became %q", got)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, lookup(nil), &out, io.Discard); code != agent.ExitOK {
		t.Errorf("code %d", code)
	}
	for _, s := range config.Settings() {
		if !strings.Contains(out.String(), "--"+s.Flag+", "+s.Env) {
			t.Errorf("--help lacks %s", s.Env)
		}
	}
	for _, want := range []string{"Example:", "Exit codes:", "143"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("--help lacks %q", want)
		}
	}
	out.Reset()
	if code := run(t.Context(), []string{"--version"}, lookup(nil), &out, io.Discard); code != agent.ExitOK || !strings.HasPrefix(out.String(), "gatepass-agent ") {
		t.Errorf("code %d, %q", code, out.String())
	}
}

// TestSignal runs the real program, because only a process can be signalled.
func TestSignal(t *testing.T) {
	t.Parallel()
	program := build(t, ".")
	for number, want := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130} {
		t.Run(number.String()+" ends it at once", func(t *testing.T) {
			t.Parallel()
			arrived := make(chan struct{}, 16)
			url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				gatetest.Hang(w, r)
			})
			env, dir := surroundings(t, url, ca.PEM())
			cmd := exec.CommandContext(t.Context(), program)
			for k, v := range env {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-arrived
			begin := time.Now()
			if err := cmd.Process.Signal(number); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != want {
				t.Errorf("exit code %d, want %d", got, want)
			}
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := read(t, dir, "message"); !strings.Contains(got, "stopped by signal") {
				t.Errorf("message is %q", got)
			}
		})
	}
}
