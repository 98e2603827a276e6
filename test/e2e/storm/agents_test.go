//go:build e2e

package storm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/bed/app/report"
	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/product"
)

const (
	// agentTimeout is more than pods get by default: a machine of two cores needs
	// some time for a thousand processes alone.
	agentTimeout = 3 * time.Minute
	// asked is the Retry-After of a gateway that sends logins away.
	asked = 2 * time.Second
)

// agents are the programs of pods that the node has no room for. Each has the
// token that the kubelet would project for its pod.
type agents struct {
	program, ca string
	dirs        []string
}

func newAgents(t *testing.T, ns, ca string) *agents {
	t.Helper()
	built, err := product.New(t.Context(), product.Agent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := built.Close(); err != nil {
			t.Error(err)
		}
	})
	a := &agents{program: built.Path(product.Agent), ca: ca, dirs: make([]string, crowd)}
	root := t.TempDir()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i := range crowd {
		a.dirs[i] = filepath.Join(root, podName(i))
		group.Go(func() error {
			token, err := shared.PodToken(ctx, cluster.TokenRequest{
				Namespace: ns, ServiceAccount: "default", Pod: podName(i), Audience: "gatepass", Seconds: 600,
			})
			if err != nil {
				return err
			}
			return errors.Join(os.Mkdir(a.dirs[i], 0o700), os.WriteFile(filepath.Join(a.dirs[i], "identity"), []byte(token), 0o600))
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return a
}

// outcome is how a storm of logins ended.
type outcome struct {
	took            []time.Duration
	tries           int
	sentAway, early int // answers of 429, and those that were followed too soon
	others          map[string]int
}

func (o *outcome) print(t *testing.T) {
	t.Helper()
	t.Logf("%d agents have a session after %d tries, %d of them answered by 429; %s", len(o.took), o.tries, o.sentAway, distribution(o.took))
	for cause, n := range o.others {
		t.Logf("%d tries failed otherwise: %s", n, cause)
	}
}

// logIn runs all agents at once and waits for their ends.
func (a *agents) logIn(t *testing.T, authConfig string) *outcome {
	t.Helper()
	// Processes take a while to start, and have to wait for each other: reading
	// from the pipe begins when somebody opens it for writing.
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	commands := make([]*exec.Cmd, crowd)
	for i, dir := range a.dirs {
		cmd, err := a.start(t, dir, gate, authConfig)
		if err != nil {
			t.Fatal(err)
		}
		commands[i] = cmd
	}
	// For reading as well, which never blocks and keeps late comers going.
	open, err := os.OpenFile(gate, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	began := time.Now()
	took, errs := make([]time.Duration, crowd), make([]error, crowd)
	var done sync.WaitGroup
	for i, cmd := range commands {
		done.Go(func() {
			errs[i] = cmd.Wait()
			took[i] = time.Since(began)
		})
	}
	done.Wait()
	o := &outcome{others: map[string]int{}}
	lost := 0
	for i, dir := range a.dirs {
		if err := errors.Join(errs[i], checkSession(dir, podName(i))); err != nil {
			if lost++; lost <= 10 {
				log, _ := os.ReadFile(filepath.Join(dir, "log"))
				t.Logf("%s: %v: %s", podName(i), err, log)
			}
			continue
		}
		o.took = append(o.took, took[i])
		if err := o.read(filepath.Join(dir, "log")); err != nil {
			t.Error(err)
		}
	}
	if lost > 0 {
		t.Fatalf("%d of %d agents have no session", lost, crowd)
	}
	return o
}

// start runs an agent behind the gate. The session of an earlier run goes.
func (a *agents) start(t *testing.T, dir, gate, authConfig string) (*exec.Cmd, error) {
	t.Helper()
	session := filepath.Join(dir, "session")
	if err := errors.Join(os.RemoveAll(session), os.Mkdir(session, 0o700)); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.CommandContext(t.Context(), "/bin/busybox", "sh", "-c", `: <"$0"; exec "$1"`, gate, a.program)
	cmd.Stderr = log
	cmd.Env = []string{
		"GATEPASS_GATEWAY_URL=" + bed.GatewayURL, "GATEPASS_CA_BUNDLE=" + a.ca,
		"GATEPASS_ACCESS_ID=p-testtesttest12k1", "GATEPASS_AUTH_CONFIG=" + authConfig,
		"GATEPASS_IDENTITY_FILE=" + filepath.Join(dir, "identity"), "GATEPASS_TOKEN_FILE=" + filepath.Join(session, "token"),
		"GATEPASS_TIMEOUT=" + agentTimeout.String(), "GATEPASS_TERMINATION_MESSAGE_FILE=" + filepath.Join(dir, "message"),
	}
	err = cmd.Start()
	return cmd, err
}

// checkSession reports why an agent's session is not its pod's.
func checkSession(dir, pod string) error {
	token, err := os.ReadFile(filepath.Join(dir, "session", "token"))
	if err != nil {
		return err
	}
	claims, err := report.Claims(string(token))
	if err != nil {
		return err
	}
	if sub, ok := claims["sub_claims"].(map[string]any); !ok || fmt.Sprint(sub["pod_name"]) != "["+pod+"]" {
		return fmt.Errorf("the session is for %v", claims["sub_claims"])
	}
	return nil
}

// read counts the tries in an agent's log.
func (o *outcome) read(file string) error {
	log, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	o.tries++ // the one that succeeded
	for line := range strings.Lines(string(log)) {
		var entry struct{ Msg, Cause, Wait string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			return fmt.Errorf("%w: %s", err, line)
		}
		if entry.Msg != "login failed and will be tried again" {
			continue
		}
		o.tries++
		if !strings.Contains(entry.Cause, "429") {
			o.others[entry.Cause]++
			continue
		}
		o.sentAway++
		if wait, err := time.ParseDuration(entry.Wait); err != nil || wait < asked {
			o.early++
		}
	}
	return nil
}
