package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Kind says what isolates a container from its host.
type Kind string

// The kinds.
const (
	// None: the system lets this user have no namespaces.
	None Kind = "none"
	// Root: a mount namespace, made by root.
	Root Kind = "a mount namespace and chroot"
	// User: a mount namespace inside a user namespace.
	User Kind = "a user namespace, a mount namespace and chroot"
)

// Available finds out, by trying, what this user may have.
func Available() Kind {
	kind := User
	if os.Geteuid() == 0 {
		kind = Root
	}
	cmd := exec.Command("/bin/true") //nolint:noctx // it ends at once
	cmd.SysProcAttr = attributes(kind, os.Getuid(), os.Getgid())
	if err := cmd.Run(); err != nil {
		return None
	}
	return kind
}

func attributes(kind Kind, uid, gid int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if kind == User {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: os.Getgid(), Size: 1}}
		// What mounting and chroot need would not survive the exec by a user
		// that is not root; become gives both away again.
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT}
	}
	return attr
}

// Command returns path, arguments and attributes of the process to start,
// which is this program again and becomes the container by Init.
func (s Spec) Command(kind Kind) (path string, args []string, attr *syscall.SysProcAttr, err error) {
	if err := s.prepare(); err != nil {
		return "", nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, nil, fmt.Errorf("start a container: %w", err)
	}
	argument, err := s.argument()
	if err != nil {
		return "", nil, nil, err
	}
	return self, []string{initWord, argument}, attributes(kind, s.UID, s.GID), nil
}

// become builds the container's file system around this process, gives up
// every privilege and runs its program. It returns only with an error.
func become(s Spec) error {
	// Capabilities and no_new_privs belong to a thread; the one that calls
	// exec hands its own on.
	runtime.LockOSThread()
	if err := mountAll(s); err != nil {
		return err
	}
	if err := unix.Chroot(s.Root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := dropPrivileges(s); err != nil {
		return err
	}
	err := syscall.Exec(s.Path, append([]string{s.Path}, s.Args...), s.Env)
	return fmt.Errorf("run %s: %w", s.Path, err)
}

func mountAll(s Spec) error {
	// Nothing that is mounted here may show on the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := bind(s.Root, s.Root, false); err != nil {
		return err
	}
	for _, m := range s.Mounts {
		if err := bind(m.Source, filepath.Join(s.Root, m.Target), m.ReadOnly); err != nil {
			return err
		}
	}
	return readOnly(s.Root)
}

func bind(source, target string, ro bool) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	if ro {
		return readOnly(target)
	}
	return nil
}

// readOnly remounts. In a user namespace the flags that the host's mount has
// are locked and must be given again (mount_namespaces(7)).
func readOnly(target string) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(target, &stat); err != nil {
		return fmt.Errorf("mount %s read-only: %w", target, err)
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
	for _, f := range []struct {
		has  int64
		flag uintptr
	}{
		{unix.ST_NOSUID, unix.MS_NOSUID},
		{unix.ST_NODEV, unix.MS_NODEV},
		{unix.ST_NOEXEC, unix.MS_NOEXEC},
		{unix.ST_NOATIME, unix.MS_NOATIME},
		{unix.ST_NODIRATIME, unix.MS_NODIRATIME},
		{unix.ST_RELATIME, unix.MS_RELATIME},
	} {
		if int64(stat.Flags)&f.has != 0 { //nolint:unconvert // the type differs between architectures
			flags |= f.flag
		}
	}
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fmt.Errorf("mount %s read-only: %w", target, err)
	}
	return nil
}

// dropPrivileges leaves what the restricted Pod Security Standard leaves: a
// user, no groups but one, no capabilities, and no way to gain any.
func dropPrivileges(s Spec) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if os.Geteuid() == 0 && s.UID != 0 {
		err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(s.GID), syscall.Setuid(s.UID))
		if err != nil {
			return fmt.Errorf("become user %d: %w", s.UID, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}
