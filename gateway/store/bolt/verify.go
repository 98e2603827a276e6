package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// errDamaged means that the file holds what no gateway has written.
var errDamaged = errors.New("its pages contradict each other")

// verify checks a database before it is opened to be written. When bbolt looks for
// free pages then, and meets a page that is torn or beyond the end of the file, it
// panics in a goroutine of its own, where nobody can make an error of it. Opened to
// be read only, it does not look for them, but holds the lock.
func verify(name string, timeout time.Duration) (err error) {
	// A file without a byte would be taken for a new one, which can't be made by
	// who only reads.
	if info, err := os.Stat(name); err == nil && info.Size() == 0 {
		return fmt.Errorf("%w: it is empty", errDamaged)
	}
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{Timeout: timeout, ReadOnly: true, NoStatistics: true})
	var ofSystem *fs.PathError
	switch {
	case err == nil:
	case errors.Is(err, berrors.ErrTimeout) || errors.As(err, &ofSystem):
		return err
	default:
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	root, used := uint64(0), uint64(0)
	size := db.Info().PageSize
	err = db.View(func(tx *bbolt.Tx) error {
		root, used = uint64(tx.Cursor().Bucket().Root()), uint64(tx.Size())/uint64(size) //nolint:gosec // neither is negative
		return nil
	})
	if err != nil {
		return err
	}
	file, err := os.Open(name) //nolint:gosec // the administrator names the folder
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return checkPages(file, size, root, used)
}
