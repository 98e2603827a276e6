// Package session writes a session where the application reads it: the raw
// token in one file, and beside it session.json, which describes the session
// without holding a secret.
//
// A reader never sees half a file: each is written under another name in the
// same directory and renamed. session.json is renamed first, so that whoever
// sees a token sees its description too.
package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/agent/config"
)

// Session is what a login yields.
type Session struct {
	// Token is the secret. It is not part of the description.
	Token string `json:"-"`
	// Gateway is the address that issued the session.
	Gateway string `json:"gateway"`
	// Issued and Expiry bound the session's life. Expiry is zero when the
	// gateway did not say.
	Issued time.Time `json:"issued"`
	Expiry time.Time `json:"expiry,omitzero"`
	// Claims is the payload of a token that is a JWT; nil for other tokens.
	Claims map[string]any `json:"claims,omitempty"`
	// Policies and Metadata are what a Vault server says of its token.
	Policies []string          `json:"policies,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// Renewable says that the session can be prolonged without a login.
	Renewable bool `json:"-"`
}

// Files says where a session goes.
type Files struct {
	// Token is the token's path. session.json goes into the same directory,
	// which must exist.
	Token string
	// Mode is the mode of both files, whatever the umask.
	Mode fs.FileMode
}

// Write puts s into its files. Both are written out under temporary names
// before the first of them becomes visible. Its errors name the file and what
// to do, and never hold the token.
func (f Files) Write(s Session) error {
	description, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("describing the session: %w", err)
	}
	description = append(description, '\n')

	dir := filepath.Dir(f.Token)
	writes := []struct {
		path string
		data []byte
	}{
		{filepath.Join(dir, config.SessionFile), description},
		{f.Token, []byte(s.Token)},
	}
	for i, w := range writes {
		if err := f.prepare(w.path, w.data); err != nil {
			for _, done := range writes[:i] {
				_ = os.Remove(temporary(done.path))
			}
			return explain(w.path, err)
		}
	}
	for i, w := range writes {
		if err := os.Rename(temporary(w.path), w.path); err != nil {
			for _, rest := range writes[i:] {
				_ = os.Remove(temporary(rest.path))
			}
			return explain(w.path, err)
		}
	}
	return nil
}

// temporary is a fixed name, so that an agent that was killed leaves at most
// one stray file for its successor to replace, and no pile of tokens.
func temporary(path string) string {
	dir, name := filepath.Split(path)
	return dir + "." + name + ".tmp"
}

// prepare writes data to path's temporary name with the final mode. Nothing
// is synced to a disk: the volume is memory, and a session that a power cut
// ends is of no use after it.
func (f Files) prepare(path string, data []byte) error {
	tmp := temporary(path)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// O_EXCL: never write through a link that somebody else put there.
	file, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // G304: the path is the configuration's
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Chmod(f.Mode.Perm()) // not subject to the umask
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

func explain(path string, err error) error {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s can't be written because the directory %s does not exist; mount the session volume there: %w", path, dir, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s can't be written by user %d; mount the session volume writable in the agent, with permission for that user: %w", path, os.Getuid(), err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s can't be written because the session volume is full: %w", path, err)
	}
	return fmt.Errorf("%s can't be written: %w", path, err)
}
