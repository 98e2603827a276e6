// Package handover keeps the administrator's first credentials where a person finds
// them, in a file or a Kubernetes Secret, before they are good for anything. Whoever
// begins again, after a crash or beside another gateway, finds those that are
// kept and goes on with them.
package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/gatepass/gatepass/gateway/catalog"
)

// Write writes credentials for a person, and for scripts a line each.
func Write(out io.Writer, c catalog.Credentials) error {
	_, err := fmt.Fprintf(out, "The administrator's credentials, told only once:\nAccess ID: %s\nAccess Key: %s\n", c.AccessID, c.AccessKey)
	return err
}

// written is what Write writes.
var written = regexp.MustCompile(`^[^\n]*\nAccess ID: (\S+)\nAccess Key: (\S+)\n$`)

// maxFile bounds a file that is read, in bytes; Write's has some 130.
const maxFile = 4096

// File keeps credentials in a file of mode 0600.
type File struct {
	name string
	made bool
}

// NewFile keeps credentials in the named file. Its folder must exist.
func NewFile(name string) *File { return &File{name: name} }

// String names the file.
func (f *File) String() string { return "the file " + f.name }

// Keep makes the file, completely or not at all, and returns what is in it. A file
// that exists is left as it is: it has to hold what an earlier Keep wrote.
func (f *File) Keep(_ context.Context, fresh catalog.Credentials) (catalog.Credentials, error) {
	kept, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		if err = f.create(fresh); err == nil {
			f.made = true
			return fresh, nil
		}
		if errors.Is(err, fs.ErrExist) {
			kept, err = f.read()
		}
	}
	if err != nil {
		return catalog.Credentials{}, fmt.Errorf("keep the administrator's credentials in %s: %w", f, err)
	}
	return kept, nil
}

func (f *File) read() (catalog.Credentials, error) {
	file, err := os.Open(f.name)
	if err != nil {
		return catalog.Credentials{}, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	info, err := file.Stat()
	if err != nil {
		return catalog.Credentials{}, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o007 != 0 {
		return catalog.Credentials{}, errors.New("it exists, and others may read or write it; take it away, or name another one")
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile))
	defer clear(content)
	if err != nil {
		return catalog.Credentials{}, err
	}
	found := written.FindSubmatch(content)
	if found == nil {
		return catalog.Credentials{}, errors.New("it exists, and holds something else; take it away, or name another one")
	}
	return catalog.Credentials{AccessID: string(found[1]), AccessKey: string(found[2])}, nil
}

// create makes the file so that it survives a crash of the machine: what is made an
// administrator's in a store afterwards does.
func (f *File) create(c catalog.Credentials) error {
	dir := filepath.Dir(f.name)
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // a stray is worthless
	if err := errors.Join(Write(tmp, c), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces.
	if err := os.Link(tmp.Name(), f.name); err != nil {
		return err
	}
	folder, err := os.Open(dir) //nolint:gosec // the administrator names it
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Withdraw is for when another gateway was faster with other credentials: it
// removes the file if Keep made it, because its content is worthless.
func (f *File) Withdraw() error {
	if !f.made {
		return fmt.Errorf("%s holds credentials that are not the administrator's", f)
	}
	f.made = false
	if err := os.Remove(f.name); err != nil {
		return fmt.Errorf("remove worthless credentials: %w", err)
	}
	return nil
}
