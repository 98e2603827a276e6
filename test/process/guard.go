// Package process runs programs for tests and makes sure that none outlives
// its test, whatever happens to the test.
package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// guardScript waits for a word from its owner. The end of the pipe without the
// word means that the owner died, by a panic, a signal or a timeout: then
// every process that has a pid file is ended, and the folder removed. Signals
// that a terminal sends to the whole group must not end the guard first.
const guardScript = `
trap '' HUP INT TERM
read -r word
[ "$word" = released ] && exit 0
for signal in TERM KILL; do
	for f in "$1"/*.pid; do
		[ -f "$f" ] && kill -s "$signal" "$(cat "$f")" 2>/dev/null
	done
	[ "$signal" = TERM ] && sleep 2
done
rm -rf "$1"
`

// Guard is a small shell process that outlives its owner for as long as it
// takes to end the processes that the owner left behind.
type Guard struct {
	dir   string
	cmd   *exec.Cmd
	words io.WriteCloser
}

// NewGuard makes a temporary folder, and a guard for the processes whose pid
// files lie in it. Release ends both.
func NewGuard() (*Guard, error) {
	dir, err := os.MkdirTemp("", "gatepass-test-")
	if err != nil {
		return nil, fmt.Errorf("guard the test's processes: %w", err)
	}
	cmd := exec.Command("/bin/sh", "-c", guardScript, "guard", dir) //nolint:noctx // it has to outlive every context of its owner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	words, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("guard the test's processes: %w", err), os.RemoveAll(dir))
	}
	return &Guard{dir: dir, cmd: cmd, words: words}, nil
}

// Dir is the guard's folder; its owner may keep other files in it, too.
func (g *Guard) Dir() string { return g.dir }

// PIDFile is where a process with that name has to write its id.
func (g *Guard) PIDFile(name string) string { return filepath.Join(g.dir, name+".pid") }

// PID reads a pid file; 0 means that there is no such process.
func (g *Guard) PID(name string) int {
	content, err := os.ReadFile(g.PIDFile(name))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0
	}
	return pid
}

// Release ends the guard and removes its folder. Call it when the processes
// are stopped.
func (g *Guard) Release() error {
	_, err := io.WriteString(g.words, "released\n")
	return errors.Join(err, g.words.Close(), g.cmd.Wait(), os.RemoveAll(g.dir))
}

// Alive reports whether a process is running. A zombie is not: in a container
// an orphan may wait for ever for somebody to take note of its end.
func Alive(pid int) bool {
	if pid <= 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || !hasProc()
	}
	_, state, _ := strings.Cut(string(stat), ") ") // proc_pid_stat(5): pid (comm) state …
	return !strings.HasPrefix(state, "Z")
}

// hasProc is false on systems without Linux's /proc.
func hasProc() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}
