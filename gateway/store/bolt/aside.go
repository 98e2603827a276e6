package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	berrors "go.etcd.io/bbolt/errors"
)

// asideSuffix is added to the name of a database that is set aside.
const asideSuffix = ".old"

// SetAside renames a folder's database, also a damaged one, so that Open makes a new
// one. It returns the new name, or "" if there is no database. A database that
// was set aside before is replaced: the folder's disk has room for so many only.
func SetAside(o Options) (string, error) {
	if o.LockTimeout == 0 {
		o.LockTimeout = lockTimeout
	}
	name := filepath.Join(o.Dir, FileName)
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	// What else is wrong with it is why it is set aside.
	if err := verify(name, o.LockTimeout); errors.Is(err, berrors.ErrTimeout) {
		return "", explain(name, err)
	}
	if err := os.Rename(name, name+asideSuffix); err != nil {
		return "", fmt.Errorf("set the database aside: %w", err)
	}
	return name + asideSuffix, nil
}
