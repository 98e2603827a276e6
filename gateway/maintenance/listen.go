package maintenance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
)

// SocketName is the socket's name in a data folder.
const SocketName = "gateway.sock"

const socketMode = 0o600

// peer is who connected.
type peer struct{ uid, pid int }

// String is what the audit log calls it.
func (p peer) String() string { return fmt.Sprintf("unix:uid=%d,pid=%d", p.uid, p.pid) }

// permits is whether a user may do what the owner of the data folder may.
func permits(uid, owner int) bool { return uid == owner || uid == 0 }

// listen makes the socket of a folder. The caller must have the folder's database
// open: then a socket that is there already was left by a process that was killed.
func listen(ctx context.Context, dir string) (net.Listener, error) {
	name := filepath.Join(dir, SocketName)
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look for a socket that was left: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is not a socket; move it away", name)
	default:
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("remove the socket that was left: %w", err)
		}
	}
	config := net.ListenConfig{Control: restrict}
	listener, err := config.Listen(ctx, "unix", name)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	return listener, nil
}

// peerListener accepts connections of those only who may.
type peerListener struct {
	net.Listener

	owner int
	log   *slog.Logger
}

// peerConn is a connection of somebody who may.
type peerConn struct {
	net.Conn

	peer peer
}

// Accept implements net.Listener.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // http.Server knows it
		}
		local, ok := conn.(*net.UnixConn)
		if !ok {
			_ = conn.Close()
			return nil, errors.New("maintenance: not a Unix socket")
		}
		who, err := peerOf(local)
		if err == nil && permits(who.uid, l.owner) {
			return peerConn{conn, who}, nil
		}
		_ = conn.Close()
		l.log.Warn("somebody else than the gateway's user and root wants to maintain the data folder", "client", who.String(), "error", err)
	}
}
