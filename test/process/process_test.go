package process_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/test/process"
)

// ownerVariable makes this test binary act as the owner that dies.
const ownerVariable = "GATEPASS_TEST_DYING_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(ownerVariable) != "" {
		dieAsOwner()
	}
	goleak.VerifyTestMain(m)
}

// dieAsOwner starts a process, says which, and panics without stopping it.
func dieAsOwner() {
	guard, err := process.NewGuard()
	if err != nil {
		panic(err)
	}
	p, err := process.Start(process.Options{Name: "sleeper", Path: "/bin/sleep", Args: []string{"600"}, Guard: guard})
	if err != nil {
		panic(err)
	}
	fmt.Println(p.PID(), guard.Dir())
	panic("the owner dies")
}

func newGuard(t *testing.T) *process.Guard {
	t.Helper()
	guard, err := process.NewGuard()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guard.Release(); err != nil {
			t.Error(err)
		}
	})
	return guard
}

func start(t *testing.T, script string, grace time.Duration) *process.Process {
	t.Helper()
	p, err := process.Start(process.Options{
		Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Guard: newGuard(t), Grace: grace,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// waitForLog returns when the process has written the text.
func waitForLog(t *testing.T, p *process.Process, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(p.Logs(), text); {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in the log: %q", text, p.Logs())
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestStop(t *testing.T) {
	t.Run("a process that ends well on SIGTERM is stopped without an error", func(t *testing.T) {
		p := start(t, `trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done`, time.Minute)
		waitForLog(t, p, "up")
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		if process.Alive(p.PID()) {
			t.Error("it is still there")
		}
	})
	t.Run("a process that fails on SIGTERM is reported with its log", func(t *testing.T) {
		p := start(t, `trap 'echo broken; exit 3' TERM; echo up; while :; do sleep 0.02; done`, time.Minute)
		waitForLog(t, p, "up")
		err := p.Stop()
		if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "broken") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a process that ignores SIGTERM is killed and reported", func(t *testing.T) {
		p := start(t, `trap '' TERM; echo up; while :; do read -r x </dev/null; done`, 50*time.Millisecond)
		waitForLog(t, p, "up")
		err := p.Stop()
		if err == nil || !strings.Contains(err.Error(), "was killed") {
			t.Errorf("got %v", err)
		}
		if process.Alive(p.PID()) {
			t.Error("it is still there")
		}
	})
}

func TestWaitReadyReportsAnEarlyEnd(t *testing.T) {
	p := start(t, "echo no configuration >&2; exit 4", time.Minute)
	err := p.WaitReady(t.Context(), "http://127.0.0.1:1/readyz")
	if err == nil || !strings.Contains(err.Error(), "no configuration") || !strings.Contains(err.Error(), "exit status 4") {
		t.Errorf("got %v", err)
	}
}

func TestGuardEndsWhatADeadOwnerLeft(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.CommandContext(ctx, exe)
	owner.Env = append(os.Environ(), ownerVariable+"=1")
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Wait(); err == nil {
		t.Fatal("the owner did not die")
	}
	words := strings.Fields(line)
	pid, err := strconv.Atoi(words[0])
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, statErr := os.Stat(words[1])
		if !process.Alive(pid) && os.IsNotExist(statErr) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("process %d or folder %s outlived its owner", pid, words[1])
		}
	}
}
