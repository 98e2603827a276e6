package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Dir keeps keys as files of mode 0600 in a folder of mode 0700.
type Dir struct{ path string }

// NewDir keeps keys in the folder signing-keys under dataDir, which is made if
// it is missing.
func NewDir(dataDir string) (*Dir, error) {
	path := filepath.Join(dataDir, "signing-keys")
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for signing keys: %w", err)
	}
	return &Dir{path: path}, nil
}

// Keys implements Store.
func (d *Dir) Keys(_ context.Context, accessIDs []string, known map[string]crypto.Signer) (map[string]crypto.Signer, error) {
	keys := make(map[string]crypto.Signer, len(accessIDs))
	for _, id := range accessIDs {
		key, err := d.key(id, known[id])
		if err != nil {
			return nil, fmt.Errorf("signing key of access id %s: %w", id, err)
		}
		keys[id] = key
	}
	return keys, nil
}

func (d *Dir) key(accessID string, known crypto.Signer) (crypto.Signer, error) {
	if !filepath.IsLocal(accessID) || filepath.Base(accessID) != accessID {
		return nil, errors.New("the access id can't be a file name")
	}
	name := filepath.Join(d.path, accessID+".pem")
	key, err := ReadFile(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, encoded, err := missing(known)
	if err != nil {
		return nil, err
	}
	if err := d.create(name, encoded); err != nil {
		return nil, err
	}
	// Read back: another gateway on the same folder may have been first.
	return ReadFile(name)
}

// create writes a file completely or not at all, and leaves one alone that
// exists: a link, unlike a rename, never replaces.
func (d *Dir) create(name string, data []byte) (err error) {
	tmp, err := os.CreateTemp(d.path, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep a new signing key: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	_, writeErr := tmp.Write(data)
	if err := errors.Join(writeErr, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("keep a new signing key: %w", err)
	}
	if err := os.Link(tmp.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep a new signing key: %w", err)
	}
	return d.sync()
}

// sync makes the new name survive a crash.
func (d *Dir) sync() (err error) {
	dir, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("keep a new signing key: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
