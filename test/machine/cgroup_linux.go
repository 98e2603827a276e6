package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// envGroups names the machine's group in every hierarchy.
	envGroups   = "GATEPASS_MACHINE_GROUP"
	groupPrefix = "gatepass-test-"
)

// controlGroups is the machine's own group in every hierarchy. Inside it is
// the root of what can be seen.
type controlGroups struct{ name string }

// hierarchies lists the mounted hierarchies: one of version 2 on most
// machines, one for each controller with version 1.
func hierarchies() ([]string, error) {
	if unified() {
		return []string{cgroupRoot}, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	var found []string
	for _, e := range entries {
		dir := filepath.Join(cgroupRoot, e.Name())
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && e.IsDir() {
			found = append(found, dir)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no control groups are mounted below %s; a node needs them", cgroupRoot)
	}
	return found, nil
}

// unified reports whether only version 2 is mounted.
func unified() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return err == nil
}

func makeControlGroups() (*controlGroups, error) {
	sweep()
	g := &controlGroups{name: groupPrefix + strconv.Itoa(os.Getpid())}
	dirs, err := hierarchies()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		own := filepath.Join(dir, g.name)
		if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, errors.Join(fmt.Errorf("make a control group: %w", err), g.remove())
		}
		// A new group of the controller cpuset has no processors and admits nobody.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			parent, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || unified() {
				continue
			}
			if err := os.WriteFile(filepath.Join(own, name), parent, 0o644); err != nil {
				return nil, errors.Join(fmt.Errorf("make a control group: %w", err), g.remove())
			}
		}
	}
	return g, nil
}

func (g *controlGroups) env() string { return envGroups + "=" + g.name }

// remove deletes the groups. Their processes have been killed, but it may
// take the kernel a moment to be done with them.
func (g *controlGroups) remove() error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, removeTree(filepath.Join(dir, g.name)))
	}
	return errors.Join(errs...)
}

const (
	removeTimeout = 10 * time.Second
	removePoll    = 20 * time.Millisecond
)

func removeTree(top string) error {
	var groups []string
	err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		return nil // what has gone meanwhile need not be removed
	})
	if err != nil {
		return err
	}
	slices.Reverse(groups) // children before their parents
	deadline := time.Now().Add(removeTimeout)
	tick := time.NewTicker(removePoll)
	defer tick.Stop()
	for _, group := range groups {
		err := syscall.Rmdir(group)
		for ; errors.Is(err, syscall.EBUSY) && time.Now().Before(deadline); <-tick.C {
			err = syscall.Rmdir(group)
		}
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("remove control group %s: %w", group, err)
		}
	}
	return nil
}

// sweep removes what a killed run could not. Groups of runs that go on are
// busy and stay.
func sweep() {
	dirs, err := hierarchies()
	if err != nil {
		return
	}
	for _, dir := range dirs {
		left, err := filepath.Glob(filepath.Join(dir, groupPrefix+"*"))
		if err != nil {
			continue
		}
		for _, group := range left {
			pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(group), groupPrefix))
			if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				_ = removeTree(group)
			}
		}
	}
}

// enterControlGroups moves this process into the machine's groups, which
// become the root of what it and its children see.
func enterControlGroups() error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		procs := filepath.Join(dir, os.Getenv(envGroups), "cgroup.procs")
		if err := os.WriteFile(procs, []byte("0"), 0o644); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	if err := syscall.Unshare(syscall.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a namespace of control groups: %w", err)
	}
	return nil
}

// mountControlGroups mounts the hierarchies again, as seen from inside.
func mountControlGroups() error {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(own)), "\n")
	if len(lines) == 1 && strings.HasPrefix(lines[0], "0::") {
		return mountUnified()
	}
	if err := syscall.Mount(memory, cgroupRoot, memory, 0, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", cgroupRoot, err)
	}
	for _, line := range lines {
		// cgroups(7): id:controllers:path, or id:name=NAME:path without controllers.
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 || parts[1] == "" {
			continue // version 2 beside version 1 has no controllers here
		}
		dir := filepath.Join(cgroupRoot, strings.TrimPrefix(parts[1], "name="))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		data := parts[1]
		if strings.HasPrefix(data, "name=") {
			data = "none," + data
		}
		if err := syscall.Mount("cgroup", dir, "cgroup", 0, data); err != nil {
			return fmt.Errorf("mount control groups of %s: %w", parts[1], err)
		}
	}
	return nil
}

// mountUnified mounts version 2 and lets children of the root have its
// controllers, which needs a root without processes (cgroups(7), "no internal
// processes" rule).
func mountUnified() error {
	if err := syscall.Mount("cgroup2", cgroupRoot, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", cgroupRoot, err)
	}
	leaf := filepath.Join(cgroupRoot, "init")
	if err := os.Mkdir(leaf, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0o644); err != nil {
		return fmt.Errorf("leave the root control group: %w", err)
	}
	controllers, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte("+"+name), 0o644); err != nil {
			return fmt.Errorf("enable the controller %s: %w", name, err)
		}
	}
	return nil
}
