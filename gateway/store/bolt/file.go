package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// unfinished is the pattern of names under which databases are made.
const unfinished = "." + FileName + "-*"

// create makes a complete database or none: a crash half-way leaves another name.
// A link, unlike a rename, does not replace what another process made meanwhile.
func create(dir, name string) (err error) {
	tmp, err := os.CreateTemp(dir, unfinished) // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	if err := tmp.Close(); err != nil {
		return err
	}
	db, err := open(tmp.Name(), lockTimeout)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(prepare), db.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(dir)
}

// prepare makes the buckets of an empty database.
func prepare(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucket([]byte(metaBucket))
	if err != nil {
		return err
	}
	if _, err := tx.CreateBucket([]byte(itemsBucket)); err != nil {
		return err
	}
	return errors.Join(putNumber(meta, formatKey, format), putNumber(meta, revisionKey, 0))
}

// syncFolder makes a new name survive a crash of the machine.
func syncFolder(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the administrator names the folder
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// abandoned is the age at which nobody can still be making a database.
const abandoned = time.Hour

// removeUnfinished removes what crashes during create have left.
func removeUnfinished(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, unfinished))
	for _, name := range left {
		info, statErr := os.Stat(name)
		if statErr == nil && time.Since(info.ModTime()) > abandoned {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return err
}

// inspect returns the database's revision.
func inspect(db *bbolt.DB) (revision int64, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte(metaBucket))
		if meta == nil || tx.Bucket([]byte(itemsBucket)) == nil {
			return berrors.ErrInvalid
		}
		found := number(meta, formatKey)
		if revision = number(meta, revisionKey); found < 0 || revision < 0 {
			return fmt.Errorf("%w: its numbers are missing", errDamaged)
		}
		if found != format {
			return fmt.Errorf("it has format %d and this gateway knows %d; use the version of the gateway that wrote it", found, format)
		}
		return nil
	})
	return revision, err
}

// number reads a number of the bucket meta; -1 means that it is not there.
func number(meta *bbolt.Bucket, key string) int64 {
	value := meta.Get([]byte(key))
	if len(value) != revisionSize {
		return -1
	}
	return int64(binary.BigEndian.Uint64(value)) //nolint:gosec // putNumber wrote it
}

func putNumber(meta *bbolt.Bucket, key string, n int64) error {
	return meta.Put([]byte(key), binary.BigEndian.AppendUint64(nil, uint64(n))) //nolint:gosec // it counts up from 0
}

// explain says what to do about a database that can't be opened.
func explain(name string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w %s open: one gateway at a time can use a data folder; stop the other, or give several gateways an etcd", ErrLocked, name)
	case errors.Is(err, errDamaged), errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%s is damaged or no database of a gateway (%w): move it away and restore a backup", name, err)
	}
	return fmt.Errorf("open %s: %w", name, err)
}
