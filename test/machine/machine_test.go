//go:build e2e && linux

package machine_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/machine"
)

// envEnding says in a machine how it is to end.
const envEnding = "GATEPASS_TEST_ENDING"

func TestMain(m *testing.M) {
	if os.Getenv(envEnding) == "" {
		os.Exit(m.Run())
	}
	os.Exit(machine.Run(machine.Options{}, func() int {
		if err := litter(); err != nil {
			fmt.Println("error:", err)
			return 1
		}
		return end()
	}))
}

// marker is in the command line of the process that a machine leaves behind.
const marker = "86399.125"

// litter does what a node does: it mounts, makes control groups, changes the
// network, and starts processes that nobody waits for.
func litter() error {
	mounted := filepath.Join(machine.Dir(), "mounted")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", mounted, "tmpfs", 0, ""); err != nil {
		return err
	}
	group := "/sys/fs/cgroup/pids/left/behind"
	if _, err := os.Stat("/sys/fs/cgroup/pids"); err != nil {
		group = "/sys/fs/cgroup/left/behind"
	}
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	script := fmt.Sprintf("echo $$ >%s/cgroup.procs; setsid sleep %s >/dev/null 2>&1 & ip link add left0 type veth peer name left1", group, marker)
	if out, err := exec.Command("/bin/sh", "-c", script).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func end() int {
	fmt.Println("ready", machine.Dir())
	switch os.Getenv(envEnding) {
	case "fails":
		return 3
	case "panics":
		panic("on purpose")
	case "hangs":
		select {}
	}
	return 0
}

func TestNothingOfAMachineIsLeft(t *testing.T) {
	for _, row := range []struct {
		name, ending string
		kill         bool
		code         int
	}{
		{"when its tests pass", "passes", false, 0},
		{"when its tests fail", "fails", false, 3},
		{"when its tests panic", "panics", false, 2},
		{"when it is killed", "hangs", true, -1},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := mounts(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), envEnding+"="+row.ending)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			dir := ready(t, bufio.NewScanner(out), &stderr)
			if row.kill {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			_ = cmd.Wait() // the code tells
			if code := cmd.ProcessState.ExitCode(); code != row.code {
				t.Errorf("exit code %d, want %d: %s", code, row.code, stderr.String())
			}
			await.Until(t, "no folder of the machine", func() bool {
				_, err := os.Stat(dir)
				return os.IsNotExist(err)
			})
			await.Until(t, "no process of the machine", func() bool { return len(leftovers(t)) == 0 }, func() string { return strings.Join(leftovers(t), "\n") })
			if after := mounts(t); after != before {
				t.Errorf("mounts changed:\n%s\nbefore:\n%s", after, before)
			}
			if _, err := os.Stat("/sys/class/net/left0"); err == nil {
				t.Error("a network interface of the machine is here")
			}
			if groups := group(t, cmd.Process.Pid); !row.kill && len(groups) > 0 {
				t.Errorf("control groups are left: %v", groups)
			}
		})
	}
	t.Run("and the next run removes the control groups that a killed one left", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), envEnding+"=passes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		left, err := filepath.Glob("/sys/fs/cgroup/*/gatepass-test-*/left")
		if err != nil || len(left) > 0 {
			t.Errorf("control groups are left: %v, %v", left, err)
		}
	})
}

func ready(t *testing.T, lines *bufio.Scanner, stderr fmt.Stringer) string {
	t.Helper()
	for lines.Scan() {
		if dir, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			return dir
		}
		t.Log(lines.Text())
	}
	t.Fatalf("the machine did not get ready: %s", stderr)
	return ""
}

func mounts(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// leftovers lists the processes that a machine abandoned.
func leftovers(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(line), "sleep\x00"+marker) {
			found = append(found, file)
		}
	}
	return found
}

// group lists the control groups that belong to a run.
func group(t *testing.T, pid int) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/gatepass-test-%d", "/sys/fs/cgroup/*/gatepass-test-%d"} {
		groups, err := filepath.Glob(fmt.Sprintf(pattern, pid))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, groups...)
	}
	return found
}
