package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/gatepass/gatepass/gateway/store"
)

// errDamaged means that the file holds what no gateway has written.
var errDamaged = errors.New("a page of it can't be read")

// verify walks through a database before it is opened to be written. When bbolt
// looks for free pages then, and finds one that is torn or beyond the end of the
// file, it panics in a goroutine of its own, where nobody can make an error of it.
// Opened to be read only, it does not look for them.
func verify(name string, timeout time.Duration) (err error) {
	// A file without a byte would be taken for a new one, which can't be made by
	// who only reads.
	if info, err := os.Stat(name); err == nil && info.Size() == 0 {
		return fmt.Errorf("%w: it is empty", errDamaged)
	}
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{Timeout: timeout, ReadOnly: true, InitialMmapSize: mapSize, NoStatistics: true})
	var ofSystem *fs.PathError
	switch {
	case err == nil:
	case errors.Is(err, berrors.ErrTimeout) || errors.As(err, &ofSystem):
		return err
	default:
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	// Reading mapped memory behind the end of the file is a fault, not an error.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if found := recover(); found != nil {
			err = fmt.Errorf("%w: %v", errDamaged, found)
		}
		err = errors.Join(err, db.Close())
	}()
	return db.View(func(tx *bbolt.Tx) error {
		if info, err := os.Stat(name); err != nil || info.Size() < tx.Size() {
			return errors.Join(fmt.Errorf("%w: the file is too short", errDamaged), err)
		}
		for _, name := range []string{metaBucket, itemsBucket} {
			bucket := tx.Bucket([]byte(name))
			if bucket == nil {
				return berrors.ErrInvalid
			}
			if err := verifyBucket(bucket.Cursor()); err != nil {
				return err
			}
		}
		return nil
	})
}

// verifyBucket looks at everything. Keys that are not in order would be found again
// by nobody, or by walking in circles.
func verifyBucket(cursor *bbolt.Cursor) error {
	var last []byte
	end := make([]byte, 1)
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		switch {
		case bytes.Compare(key, last) <= 0:
			return fmt.Errorf("%w: its keys are not in order", errDamaged)
		case len(value) < revisionSize || len(value) > revisionSize+store.MaxValue:
			return fmt.Errorf("%w: a value has %d bytes", errDamaged, len(value))
		}
		copy(end, value[len(value)-1:]) // which has to be in the file
		last = key
	}
	return nil
}
