package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent"
	"github.com/gatepass/gatepass/agent/gatetest"
)

// maxRest bounds a sidecar's resident memory at rest, in bytes.
const maxRest = 10_000_000

// sidecar is the real program in mode sidecar.
type sidecar struct {
	cmd     *exec.Cmd
	env     []string
	dir     string
	metrics string
}

func startSidecar(t *testing.T, program, url, ca string, extra ...string) *sidecar {
	t.Helper()
	env, dir := surroundings(t, url, ca)
	s := &sidecar{dir: dir, env: append([]string{"GATEPASS_MODE=sidecar", "GATEPASS_METRICS_ADDRESS=127.0.0.1:0"}, extra...)}
	for k, v := range env {
		s.env = append(s.env, k+"="+v)
	}
	s.cmd = exec.CommandContext(t.Context(), program)
	s.cmd.Env = s.env
	log, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // long gone, unless the test failed
		_ = s.cmd.Wait()
	})
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Msg, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("a line of the log is not JSON: %s", lines.Text())
		}
		if line.Msg == "metrics are served" {
			s.metrics = "http://" + line.Address + "/metrics"
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }() // until the program ends
	return s
}

// wait runs the hook.
func (s *sidecar) wait(t *testing.T) (code int, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.cmd.Path, "wait")
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// resident is the program's resident memory, in bytes.
func (s *sidecar) resident(t *testing.T) int64 {
	t.Helper()
	fields := strings.Fields(read(t, "/proc", strconv.Itoa(s.cmd.Process.Pid), "statm"))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func (s *sidecar) scrape(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.metrics, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	return string(body)
}

func TestSidecar(t *testing.T) {
	t.Parallel()
	program := build(t, ".")
	t.Run("it lets the hook go, refreshes, stays small, revokes, and ends well", func(t *testing.T) {
		t.Parallel()
		var logins atomic.Int32
		revoked := make(chan string, 8)
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.URL.Path == "/revoke-creds" {
				revoked <- string(body)
				_, _ = io.WriteString(w, "{}")
				return
			}
			now := time.Now()
			claims := map[string]any{"iat": now.Unix(), "exp": now.Add(3 * time.Second).Unix(), "n": logins.Add(1)}
			gatetest.Grant(w, gatetest.Token(t, claims), now.Add(3*time.Second))
		})
		s := startSidecar(t, program, url, ca.PEM(), "GATEPASS_REVOKE_ON_EXIT=true")
		if code, said := s.wait(t); code != 0 || said != "" {
			t.Fatalf("the hook ended with %d: %s", code, said)
		}
		first := read(t, s.dir, "token")
		for deadline := time.Now().Add(15 * time.Second); read(t, s.dir, "token") == first; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the session is not refreshed")
			}
		}
		if text := s.scrape(t); !strings.Contains(text, "gatepass_agent_refresh_failing 0\n") {
			t.Errorf("metrics are\n%s", text)
		}
		if got := s.resident(t); got > maxRest {
			t.Errorf("resident memory is %d bytes, more than %d", got, maxRest)
		} else {
			t.Logf("resident memory: %d bytes", got)
		}
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Wait(); err != nil {
			t.Errorf("it ended with %v", err)
		}
		if got, want := <-revoked, fmt.Sprintf("{%q:%q}", "token", read(t, s.dir, "token")); got != want {
			t.Errorf("revoked %s, want %s", got, want)
		}
		if _, err := os.Stat(filepath.Join(s.dir, "message")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("there is a termination message: %v", err)
		}
	})
	t.Run("a denial reaches the hook and the kubelet", func(t *testing.T) {
		t.Parallel()
		url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) { gatetest.Refuse(w, 403, "pod name mismatch") })
		s := startSidecar(t, program, url, ca.PEM(), "GATEPASS_TIMEOUT=2s")
		const want = "gatepass-agent: the gateway denied the login (403 Forbidden): pod name mismatch"
		if code, said := s.wait(t); code != int(agent.ExitDenied) || strings.TrimSpace(said) != want {
			t.Errorf("the hook ended with %d: %s", code, said)
		}
		_ = s.cmd.Wait()
		if got := s.cmd.ProcessState.ExitCode(); got != int(agent.ExitDenied) {
			t.Errorf("the agent ended with %d", got)
		}
		if got := read(t, s.dir, "message"); got != want {
			t.Errorf("message is %q", got)
		}
	})
}
