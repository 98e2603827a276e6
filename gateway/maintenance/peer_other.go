//go:build !linux

package maintenance

import (
	"errors"
	"net"
	"syscall"
)

var errUnsupported = errors.New("there is no socket for maintenance on this system")

func peerOf(*net.UnixConn) (peer, error) { return peer{}, errUnsupported }

func restrict(string, string, syscall.RawConn) error { return errUnsupported }
