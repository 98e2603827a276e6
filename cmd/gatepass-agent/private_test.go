//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/gatetest/trespass"
)

// Another process of the agent's user, which looks for it without a pause, gets
// into it between its start and PR_SET_DUMPABLE; not so if the program has the
// mode of the image.
func TestNobodyLooksIntoTheAgentFromItsFirstInstant(t *testing.T) {
	t.Parallel()
	program, reader := build(t, "."), build(t, "./testdata/trespass")
	letIn(t, filepath.Dir(program))
	letIn(t, filepath.Dir(reader))
	const starts = 200
	for _, row := range []struct {
		mode os.FileMode
		once string
	}{
		{0o111, ""},
		{0o555, "once"}, // it is not for a lack of looking
	} {
		t.Run(fmt.Sprintf("mode %04o", row.mode), func(t *testing.T) {
			t.Parallel()
			// The name tells these processes from those of all other tests.
			name := fmt.Sprintf("a%04o-%d", row.mode, os.Getpid())
			agent := filepath.Join(t.TempDir(), name)
			letIn(t, filepath.Dir(agent))
			content, err := os.ReadFile(program)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(agent, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(agent, row.mode); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			look := exec.CommandContext(ctx, reader, name, "/proc/self/comm", row.once)
			asNobody(look)
			out, err := look.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := look.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			if !lines.Scan() {
				t.Fatal("the reader says nothing")
			}
			told := make(chan trespass.Report)
			go func() {
				defer close(told)
				var r trespass.Report
				if lines.Scan() && json.Unmarshal(lines.Bytes(), &r) == nil {
					told <- r
				}
			}()
			begin := func() {
				cmd := exec.CommandContext(ctx, agent, "--version")
				asNobody(cmd)
				if err := cmd.Run(); err != nil {
					t.Error(err)
				}
			}
			n := 0
			for ; row.once == "" && n < starts; n++ {
				begin()
			}
			if row.once == "" {
				if err := look.Process.Signal(syscall.SIGTERM); err != nil {
					t.Error(err)
				}
			}
			var r trespass.Report
			for ended := false; !ended; {
				select {
				case r = <-told:
					ended = true
				default:
					if row.once != "" {
						begin()
						n++
					}
				}
			}
			if err := look.Wait(); err != nil {
				t.Error(err)
			}
			t.Logf("%d starts, %d looks at all processes, %v seen, %v looked into", n, r.Passes, r.Seen, r.Into)
			if r.Seen[name] == 0 || (len(r.Into) > 0) != (row.once != "") {
				t.Errorf("of %d starts, %d were seen and %v looked into", n, r.Seen[name], r.Into)
			}
		})
	}
}
