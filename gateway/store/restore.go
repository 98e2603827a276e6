package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// restoring is the key of a mark that is in a store while a backup is restored
// into it: first to come, last to go.
const restoring = "restoring"

// undoTimeout is how long a failed restore may take to remove what it wrote.
const undoTimeout = time.Minute

// Restore writes a backup into an empty store. It reads the backup twice: one that
// is damaged is refused before anything is written. If it fails later, it removes
// what it wrote. If it can't do even that, or is killed, the store is left marked:
// see CheckComplete. Nothing else may write the store meanwhile. The last operations
// are done when all is written, in the commit that ends the restore.
func Restore(ctx context.Context, s Store, r io.ReadSeeker, last ...Op) (BackupInfo, error) {
	info, err := restore(ctx, s, r, last)
	if err != nil {
		return BackupInfo{}, fmt.Errorf("restore a backup: %w", err)
	}
	return info, nil
}

func restore(ctx context.Context, s Store, r io.ReadSeeker, last []Op) (BackupInfo, error) {
	info, err := CheckBackup(r)
	if err != nil {
		return BackupInfo{}, err
	}
	if err := checkEmpty(ctx, s); err != nil {
		return BackupInfo{}, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return BackupInfo{}, fmt.Errorf("read it again: %w", err)
	}
	backup, err := newBackupReader(r)
	if err != nil {
		return BackupInfo{}, err
	}
	mark, err := s.Commit(ctx, Create(restoring, nil))
	if err != nil {
		return BackupInfo{}, err
	}
	if err := fill(ctx, s, backup, mark, last); err != nil {
		// Also when it was ctx that ended.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		return BackupInfo{}, errors.Join(err, empty(undo, s, mark))
	}
	return info, nil
}

// Replace is Restore into a store that may contain records: they are removed when the
// backup has turned out to be whole. If it fails later, the store is empty, or marked as
// incomplete.
func Replace(ctx context.Context, s Store, r io.ReadSeeker, last ...Op) (BackupInfo, error) {
	if _, err := CheckBackup(r); err != nil {
		return BackupInfo{}, fmt.Errorf("restore a backup: %w", err)
	}
	if err := clearStore(ctx, s); err != nil {
		return BackupInfo{}, fmt.Errorf("restore a backup: %w", err)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return BackupInfo{}, fmt.Errorf("restore a backup: read it again: %w", err)
	}
	return Restore(ctx, s, r, last...)
}

// clearStore removes everything from a store, also what a restore has left that did
// not end.
func clearStore(ctx context.Context, s Store) error {
	var mark int64
	left, err := s.Get(ctx, restoring)
	switch {
	case err == nil:
		mark = left.Revision
	case errors.Is(err, ErrNotFound):
		if mark, err = s.Commit(ctx, Create(restoring, nil)); err != nil {
			return err
		}
	default:
		return err
	}
	return empty(ctx, s, mark)
}

// CheckComplete returns an error if a restore into the store began and did not
// end: it lacks records, or the backup was damaged.
func CheckComplete(ctx context.Context, s Store) error {
	_, err := s.Get(ctx, restoring)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return errors.New("a restore into this store did not end, so records are missing; empty the store and restore again")
}

func checkEmpty(ctx context.Context, s Store) error {
	page, err := s.List(ctx, Query{Limit: 1})
	if err != nil {
		return err
	}
	if len(page.Items) == 0 {
		return nil
	}
	if err := CheckComplete(ctx, s); err != nil {
		return err
	}
	return errors.New("the store is not empty; give a new one")
}

// fill writes the backup's items, and removes the mark in the last commit. Every
// commit expects the mark, so two restores can't mix.
func fill(ctx context.Context, s Store, backup *backupReader, mark int64, last []Op) error {
	ops, size := []Op{Expect(restoring, mark)}, 0
	for {
		line, ok, err := backup.next()
		if err != nil {
			return err
		}
		if !ok {
			if _, err := s.Commit(ctx, ops...); err != nil {
				return err
			}
			// In a commit of their own: the last may be on a key of the backup, and a
			// commit has each key once.
			_, err := s.Commit(ctx, append([]Op{Delete(restoring, mark)}, last...)...)
			return err
		}
		op := Create(line.Key, line.Value)
		if len(ops) == MaxOps || size+op.Size() > MaxCommit-MaxKey {
			if _, err := s.Commit(ctx, ops...); err != nil {
				return err
			}
			ops, size = ops[:1], 0
		}
		ops = append(ops, op)
		size += op.Size()
	}
}

// empty deletes everything, the mark last, so that a store that is not empty yet
// stays marked. Without this restore's mark it deletes nothing: then what is there
// is somebody else's.
func empty(ctx context.Context, s Store, mark int64) error {
	for after := ""; ; {
		page, err := s.List(ctx, Query{After: after, Limit: MaxOps - 1})
		if err != nil {
			return fmt.Errorf("empty the store: %w", err)
		}
		ops := []Op{Expect(restoring, mark)}
		for _, item := range page.Items {
			if item.Key != restoring {
				ops = append(ops, Delete(item.Key, item.Revision))
			}
		}
		if page.Next == "" {
			ops[0] = Delete(restoring, mark)
		}
		if _, err := s.Commit(ctx, ops...); err != nil {
			return fmt.Errorf("empty the store: %w", err)
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}
