package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/gatetest"
)

// nobody is the user that the agent runs as unless the pod says otherwise.
const nobody = 65532

// TestOrdinaryUser runs the real program as a user whom file modes bind, which
// root is not, and with the mode that it has in the image: its user can't read it.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	program := build(t, ".")
	letIn(t, filepath.Dir(program))
	if err := os.Chmod(program, 0o111); err != nil {
		t.Fatal(err)
	}
	url, ca := gatetest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) {
		gatetest.Grant(w, "the-session-token", time.Now().Add(time.Hour))
	})
	for name, tt := range map[string]struct {
		// modes of the session's directory and the identity file
		volume, identity os.FileMode
		code             int
		message          string
	}{
		"a writable volume and a readable identity suffice": {0o777, 0o444, 0, ""},
		"a volume that can't be written is named":           {0o555, 0o444, 7, "mount the session volume writable"},
		"an identity that can't be read is named":           {0o777, 0o000, 6, "may not be read by user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, dir := surroundings(t, url, ca.PEM())
			letIn(t, dir)
			volume := filepath.Join(dir, "volume")
			if err := os.Mkdir(volume, 0o700); err != nil {
				t.Fatal(err)
			}
			env["GATEPASS_TOKEN_FILE"] = filepath.Join(volume, "token")
			// The kubelet lets everybody write a termination message.
			if err := os.WriteFile(env["GATEPASS_TERMINATION_MESSAGE_FILE"], nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for path, mode := range map[string]os.FileMode{
				volume: tt.volume, env["GATEPASS_IDENTITY_FILE"]: tt.identity, env["GATEPASS_TERMINATION_MESSAGE_FILE"]: 0o666,
			} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { _ = os.Chmod(volume, 0o700) })

			cmd := exec.CommandContext(t.Context(), program)
			for k, v := range env {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
			asNobody(cmd)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tt.code {
				t.Fatalf("exit code %d, want %d: %s", got, tt.code, out)
			}
			if tt.code != 0 {
				if got := read(t, dir, "message"); !strings.Contains(got, tt.message) {
					t.Errorf("message is %q, want %q in it", got, tt.message)
				}
				return
			}
			info, err := os.Stat(env["GATEPASS_TOKEN_FILE"])
			if err != nil || info.Mode() != 0o400 {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

// asNobody has a command run as a user whom file modes bind.
func asNobody(cmd *exec.Cmd) {
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
}

// letIn lets others pass through dir, a t.TempDir, and its private parent.
func letIn(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
