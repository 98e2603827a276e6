package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/gatepass/gatepass/gateway/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (item store.Item, err error) {
	if err := errors.Join(store.CheckKey(key), ctx.Err()); err != nil {
		return store.Item{}, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		encoded := tx.Bucket([]byte(itemsBucket)).Get([]byte(key))
		if encoded == nil {
			return fmt.Errorf("%s: %w", key, store.ErrNotFound)
		}
		item, err = decode([]byte(key), encoded)
		return err
	})
	return item, err
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q store.Query) (page store.Page, err error) {
	if err := errors.Join(q.Check(), ctx.Err()); err != nil {
		return store.Page{}, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		return walk(tx, q.Prefix, q.After, func(item store.Item) (bool, error) {
			if len(page.Items) == q.Limit {
				page.Next = page.Items[q.Limit-1].Key
				return false, nil
			}
			page.Items = append(page.Items, item)
			return true, nil
		})
	})
	if err != nil {
		return store.Page{}, err
	}
	return page, nil
}

// Snapshot implements store.Store. It reads in one transaction, which keeps the
// pages of the file that it sees from being written again.
func (s *Store) Snapshot(ctx context.Context, prefix string, visit func(store.Item) error) (revision int64, err error) {
	if err := errors.Join(store.CheckPrefix(prefix), ctx.Err()); err != nil {
		return 0, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		revision = number(tx.Bucket([]byte(metaBucket)), revisionKey)
		return walk(tx, prefix, "", func(item store.Item) (bool, error) {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			return true, visit(item)
		})
	})
	if err != nil {
		return 0, err
	}
	return revision, nil
}

// view reads in a transaction.
func (s *Store) view(read func(*bbolt.Tx) error) error {
	err := s.db.View(read)
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return errClosed()
	}
	return err
}

// walk calls visit with the items under a prefix and behind a key until it has
// enough.
func walk(tx *bbolt.Tx, prefix, after string, visit func(store.Item) (more bool, err error)) error {
	from := max(prefix, after)
	cursor := tx.Bucket([]byte(itemsBucket)).Cursor()
	for key, encoded := cursor.Seek([]byte(from)); bytes.HasPrefix(key, []byte(prefix)) && key != nil; key, encoded = cursor.Next() {
		if after != "" && string(key) == after {
			continue
		}
		item, err := decode(key, encoded)
		if err != nil {
			return err
		}
		if more, err := visit(item); err != nil || !more {
			return err
		}
	}
	return nil
}
