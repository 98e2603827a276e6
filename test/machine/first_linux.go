package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// first is the machine's first process: it makes the machine ready, starts
// the tests, and waits for every process that ends, also those that the
// container runtime abandons.
func first() (int, error) {
	// Namespaces belong to a thread; children inherit those of the one that
	// starts them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, prepare := range []func() error{enterControlGroups, mountAll, mountNames, raiseNetwork} {
		if err := prepare(); err != nil {
			return 0, err
		}
	}
	if err := syscall.Sethostname([]byte("node")); err != nil {
		return 0, fmt.Errorf("set the host name: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	if err := os.Setenv(envStage, stageTests); err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	pid, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return 0, fmt.Errorf("start the tests: %w", err)
	}
	go func() {
		for s := range signals {
			if number, ok := s.(syscall.Signal); ok {
				_ = syscall.Kill(pid, number)
			}
		}
	}()
	return reap(pid)
}

// reap waits for children until the one that matters has ended.
func reap(pid int) (int, error) {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for the tests: %w", err)
		case ended == pid && status.Signaled():
			return 0, fmt.Errorf("the tests were ended by signal %q", status.Signal())
		case ended == pid:
			return status.ExitStatus(), nil
		}
	}
}

// memory is the kind of a file system without a disk.
const memory = "tmpfs"

// mountAll gives the machine its own view of everything that the parts of a
// node write to at fixed places. What is mounted here is seen nowhere else.
func mountAll() error {
	type mount struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}
	mounts := []mount{
		// Away from the host first, then shared within: the kubelet hands mounts to
		// containers.
		{"none", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""},
		{"none", "/", "", syscall.MS_REC | syscall.MS_SHARED, ""},
		{"proc", "/proc", "proc", 0, ""},
		{memory, "/run", memory, 0, "mode=755"},
		{memory, "/var/lib", memory, 0, "mode=755"},
		{memory, "/var/log", memory, 0, "mode=755"},
		// It shows the network interfaces of the namespace that mounts it.
		{"sysfs", "/sys", "sysfs", 0, ""},
	}
	for _, m := range mounts {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return mountControlGroups()
}

// mountNames replaces the files that host names are looked up in: the host's
// name servers can't be reached from here, and asking them would only take time.
func mountNames() error {
	for path, content := range map[string]string{
		hostsFile:          "127.0.0.1 localhost\n" + NodeAddress + " node\n",
		"/etc/resolv.conf": "",
	} {
		own := filepath.Join(os.Getenv(envDir), filepath.Base(path))
		if err := os.WriteFile(own, []byte(content), 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(own, path, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", path, err)
		}
	}
	return nil
}

// raiseNetwork brings up loopback and the interface with the node's address.
// The default route leads nowhere, but without one the kernel would refuse a
// Service's address before kube-proxy's rules turn it into that of a pod.
func raiseNetwork() error {
	for _, command := range []string{
		"link set lo up",
		"link add node0 type veth peer name node1", // not every kernel has dummy
		"addr add " + NodeAddress + "/24 dev node0",
		"link set node0 up",
		"link set node1 up",
		"route add default dev node0",
	} {
		out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput() //nolint:noctx // moments, and nobody to cancel
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", command, err, strings.TrimSpace(string(out)))
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}
