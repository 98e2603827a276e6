package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"github.com/gatepass/gatepass/test/process"
)

// outside starts the machine, waits for its end and clears up.
func outside(o Options) (code int, err error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("a node that runs pods needs root; run the same command as root, or on a machine (or in a virtual one) where you are")
	}
	if err := provide(append(o.Programs, Program{Name: "ip", Package: "iproute2"})); err != nil {
		return 0, err
	}
	guard, err := process.NewGuard()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, guard.Release()) }()
	groups, err := makeControlGroups()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, groups.remove()) }()

	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...) //nolint:noctx // signals end it, see below
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), envStage+"="+stageInit, envDir+"="+guard.Dir(), groups.env())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		// The kernel ends every process of the machine with its first one, and
		// that one with us, even if we are killed.
		Pdeathsig: syscall.SIGKILL,
	}
	// The signal comes when the thread ends that started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A terminal signals the whole group; the tests inside end by it, and then we
	// do.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("make namespaces (a container may not allow that): %w", err)
	}
	// A guard that has to act kills the machine before it removes the folder.
	if err := os.WriteFile(guard.PIDFile("machine"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return 0, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return 0, err
			}
		case err := <-done:
			exit, failed := errors.AsType[*exec.ExitError](err)
			if failed && exit.Exited() {
				return exit.ExitCode(), nil
			}
			return 0, err
		}
	}
}
