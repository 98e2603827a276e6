// Package marker tells a sidecar's postStart hook how the agent's first login
// ended.
//
// The marker is a file in the session volume that the agent keeps locked for
// as long as it lives. The volume outlives the agent's container; the lock
// does not. So a marker that an earlier agent left behind says nothing, and
// neither clocks nor process ids, which can repeat, are needed to see that.
package marker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/agent/session"
)

// name is the marker's, in the session's directory.
const name = ".gatepass-agent"

// maxSize bounds what is read, in bytes: a code and a termination message.
const maxSize = 8 << 10

// State is what a marker says.
type State struct {
	// Code is the exit code that the agent is going to end with, or 0 when
	// there is a session.
	Code int
	// Cause is one line that says why there is none.
	Cause string
}

// Held is a marker that is valid until Close, or until the process ends.
type Held struct{ file *os.File }

// Set puts a marker into dir, complete or not at all.
func Set(dir string, s State) (*Held, error) {
	path := filepath.Join(dir, name)
	session.Sweep(path)
	file, err := session.CreateTemporary(path)
	if err != nil {
		return nil, fmt.Errorf("telling the postStart hook: %w", err)
	}
	err = lock(file, syscall.LOCK_EX)
	if err == nil {
		_, err = fmt.Fprintf(file, "%d %s", s.Code, s.Cause)
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		_ = file.Close()
		return nil, fmt.Errorf("telling the postStart hook: %w", err)
	}
	return &Held{file}, nil
}

// Close ends the marker's validity.
func (h *Held) Close() error { return h.file.Close() }

// Read returns what the living agent's marker in dir says; false if it has
// set none yet.
func Read(dir string) (State, bool, error) {
	file, err := os.Open(filepath.Join(dir, name)) //nolint:gosec // G304: the path is the configuration's
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, false, nil
	}
	if err != nil {
		return State{}, false, fmt.Errorf("reading the agent's marker: %w", err)
	}
	defer func() { _ = file.Close() }() // nothing was written
	switch err := lock(file, syscall.LOCK_SH); {
	case err == nil:
		return State{}, false, nil // who set it is gone
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return State{}, false, fmt.Errorf("reading the agent's marker: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSize))
	if err != nil {
		return State{}, false, fmt.Errorf("reading the agent's marker: %w", err)
	}
	code, cause, _ := strings.Cut(string(data), " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		return State{}, false, errors.New("the agent's marker is damaged")
	}
	return State{n, cause}, true, nil
}

func lock(file *os.File, how int) error {
	return syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
}
