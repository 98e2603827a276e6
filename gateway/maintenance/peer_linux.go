package maintenance

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// peerOf asks the kernel who connected.
func peerOf(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("find out who connects: %w", err)
	}
	var found *syscall.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) {
		found, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err := errors.Join(err, asked); err != nil {
		return peer{}, fmt.Errorf("find out who connects: %w", err)
	}
	return peer{uid: int(found.Uid), pid: int(found.Pid)}, nil
}

// restrict gives a socket its mode before it is bound to a name, so that there is no
// moment at which it has another. Linux takes it over to the name.
func restrict(_, _ string, c syscall.RawConn) error {
	var changed error
	err := c.Control(func(fd uintptr) { changed = syscall.Fchmod(int(fd), socketMode) })
	return errors.Join(err, changed)
}
