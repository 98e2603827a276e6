package images_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/images"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/release"
)

// A shell that becomes pause leaves its children to it, as ended containers
// leave theirs to process 1.
func TestPauseTakesNoteOfEndedChildrenAndEndsWhenItIsTold(t *testing.T) {
	guard, err := process.NewGuard()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guard.Release(); err != nil {
			t.Error(err)
		}
	})
	program := images.Pause().Files[0].Program
	err = release.Build(t.Context(), release.Options{Root: checkout(t), Module: program.Module, Programs: []string{program.Package}, Dir: guard.Dir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run("on "+signal.String(), func(t *testing.T) {
			// The first child ends before pause runs, the second one later.
			const script = `sleep 600 & first=$!; sleep 600 & echo $first; echo $!; kill -KILL $first; exec "$0"`
			pause, err := process.Start(process.Options{
				Name: "pause", Path: "/bin/sh", Args: []string{"-c", script, filepath.Join(guard.Dir(), "pause")},
				Env: []string{"PATH=" + os.Getenv("PATH")}, Guard: guard,
			})
			if err != nil {
				t.Fatal(err)
			}
			var children []int
			t.Cleanup(func() {
				if !t.Failed() {
					return
				}
				for _, pid := range append(children, pause.PID()) {
					_ = syscall.Kill(pid, syscall.SIGKILL) // may have ended
				}
			})
			await.Until(t, "two children", func() bool { children = numbers(t, pause.Logs()); return len(children) == 2 })
			await.Until(t, "no zombie of the first child", func() bool { return gone(children[0]) })
			if gone(children[1]) {
				t.Fatal("the second child ended by itself")
			}
			if err := syscall.Kill(children[1], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			await.Until(t, "no zombie of the second child", func() bool { return gone(children[1]) })
			if err := syscall.Kill(pause.PID(), signal); err != nil {
				t.Fatal(err)
			}
			if code, err := pause.ExitCode(t.Context()); err != nil || code != 0 {
				t.Errorf("it ended with %d, %v", code, err)
			}
		})
	}
}

func numbers(t *testing.T, lines string) []int {
	t.Helper()
	var all []int
	for line := range strings.Lines(lines) {
		number, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, number)
	}
	return all
}

// gone reports whether not even a zombie has the number.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
