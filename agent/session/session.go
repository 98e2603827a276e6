// Package session writes a session where the application reads it: the raw
// token in one file, and beside it session.json, which describes the session
// without holding a secret, and ca.crt, with which its gateway is verified.
//
// A reader never sees half a file: each is written under a name of its own in
// the same directory and renamed, so that not even two agents that write the
// same files tear them. The token is renamed last, so that whoever
// sees it sees its description too.
package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
	// Revoked is when it was learned that the session had been ended before its
	// time. Such a session stays until there is another one.
	Revoked time.Time `json:"revoked,omitzero"`
	// Claims is the payload of a token that is a JWT; nil for other tokens.
	Claims map[string]any `json:"claims,omitempty"`
	// Policies and Metadata are what a Vault server says of its token.
	Policies []string          `json:"policies,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// Renewable says that the session can be prolonged without a login.
	Renewable bool `json:"-"`
	// Counted says that each use counts towards an end.
	Counted bool `json:"-"`
}

// Files says where a session goes.
type Files struct {
	// Token is the token's path. The other files go into the same directory,
	// which must exist.
	Token string
	// CA holds PEM certificates for ca.crt; without any there is no such file.
	CA string
	// Mode is the mode of all files, whatever the umask.
	Mode fs.FileMode
}

// Write puts s into its files. All are written out under temporary names
// before the first of them becomes visible. Its errors name the file and what
// to do, and never hold the token.
func (f Files) Write(s Session) error {
	return f.write(s, true)
}

// Describe puts what there is to say of s into its files, and leaves the token as
// it is.
func (f Files) Describe(s Session) error { return f.write(s, false) }

func (f Files) write(s Session, token bool) error {
	description, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("describing the session: %w", err)
	}
	description = append(description, '\n')

	dir := filepath.Dir(f.Token)
	type write struct {
		path string
		data []byte
	}
	writes := []write{{filepath.Join(dir, config.SessionFile), description}}
	if token {
		if f.CA != "" {
			writes = append([]write{{filepath.Join(dir, config.CAFile), []byte(f.CA)}}, writes...)
		}
		writes = append(writes, write{f.Token, []byte(s.Token)})
	}
	var made []string
	defer func() {
		for _, tmp := range made {
			_ = os.Remove(tmp) // those that were renamed are gone already
		}
	}()
	for _, w := range writes {
		Sweep(w.path)
		tmp, err := f.prepare(w.path, w.data)
		if err != nil {
			return explain(w.path, err)
		}
		made = append(made, tmp)
	}
	for i, w := range writes {
		if err := os.Rename(made[i], w.path); err != nil {
			return explain(w.path, err)
		}
	}
	return nil
}

// temporarySuffix ends the names under which files are written.
const temporarySuffix = ".tmp"

// CreateTemporary makes a file, of mode 0600, under which path's successor is
// written, and which Sweep finds if it is left behind. It never follows a
// link.
func CreateTemporary(path string) (*os.File, error) {
	dir, name := filepath.Split(path)
	return os.CreateTemp(dir, "."+name+".*"+temporarySuffix)
}

// strayAge is how old a temporary file is that nobody is writing any more. A
// write takes milliseconds.
const strayAge = time.Minute

// Sweep removes what agents that were killed in the middle of writing path
// have left behind. It does what it can; a stray that stays does no harm.
func Sweep(path string) {
	dir, name := filepath.Split(path)
	entries, _ := os.ReadDir(dir) // writing will tell what is wrong with it
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "."+name+".") || !strings.HasSuffix(e.Name(), temporarySuffix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > strayAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// prepare writes data to a temporary file of path's, with the final mode.
// Nothing is synced to a disk: the volume is memory, and a session that a
// power cut ends is of no use after it.
func (f Files) prepare(path string, data []byte) (string, error) {
	file, err := CreateTemporary(path)
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Chmod(f.Mode.Perm()) // not subject to the umask
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
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
