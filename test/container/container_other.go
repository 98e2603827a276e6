//go:build !linux

package container

import (
	"errors"
	"syscall"
)

// Kind says what isolates a container from its host.
type Kind string

// None is all that this system has.
const None Kind = "none"

var errLinuxOnly = errors.New("namespaces exist on Linux only")

// Available is None on this system.
func Available() Kind { return None }

// Command fails on this system.
func (s Spec) Command(Kind) (path string, args []string, attr *syscall.SysProcAttr, err error) {
	return "", nil, nil, errLinuxOnly
}

func become(Spec) error { return errLinuxOnly }
