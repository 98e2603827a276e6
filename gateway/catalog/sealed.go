package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/gateway/store"
)

// records is the store as the catalog writes it: what the view is made of is sealed,
// and bound to its key. So who can write the store, but has not the keys that seal
// it, can't make a record, nor move one. Snapshot and Watch give records as they are
// kept.
type records struct {
	store.Store

	seal Sealer
}

// maxOps is how many operations a commit has at most, besides that on lastKey.
const maxOps = store.MaxOps - 1

// Commit implements store.Store. Every commit writes lastKey, whose revision is that
// of the last one by it.
func (r records) Commit(ctx context.Context, ops ...store.Op) (int64, error) {
	ops = append(slices.Clone(ops), store.Put(lastKey, []byte("{}")))
	for i, op := range ops {
		if op.Action != store.ActionPut || !strings.HasPrefix(op.Key, prefix) {
			continue
		}
		sealed, err := r.seal.Seal(op.Key, op.Value)
		if err != nil {
			return 0, fmt.Errorf("seal a record: %w", err)
		}
		ops[i].Value = sealed
	}
	return r.Store.Commit(ctx, ops...)
}

// Get implements store.Store.
func (r records) Get(ctx context.Context, key string) (store.Item, error) {
	found, err := r.Store.Get(ctx, key)
	if err != nil || !strings.HasPrefix(key, prefix) {
		return found, err
	}
	found.Value, err = r.seal.Open(key, found.Value)
	return found, err
}

// unopened is a record that does not open: written by somebody without the keys, or
// sealed under a key that this gateway does not have yet. The view has what was there
// before.
type unopened struct {
	value    []byte
	revision int64
	err      error
}

// unread is the key, which no record has, of a store that could not be read anew.
const unread = ""

// Intact is nil unless a record of the store does not open, of which it returns one.
func (c *Catalog) Intact() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.unopened {
		return fmt.Errorf("%d records of the store do not open, for example: %w", len(c.unopened), u.err)
	}
	return nil
}

func (c *Catalog) countUnopened() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.unopened)
}

// keepUnopened takes note of a record that does not open. c.mu is held.
func (c *Catalog) keepUnopened(key string, value []byte, revision int64, err error) {
	c.options.Logger.Error("a record of the store does not open; what was there before stays in use, and the gateway is not ready", "error", err)
	c.unopened[key] = unopened{value, revision, err}
}

// reopen takes the records into the view that open by now, because their key has
// come. It returns what that was about.
func (c *Catalog) reopen() (e effect) {
	c.mu.Lock()
	defer c.mu.Unlock()
	opened := 0
	for key, u := range c.unopened {
		value, err := c.options.Seal.Open(key, u.value)
		if err != nil {
			continue
		}
		delete(c.unopened, key)
		e |= c.apply(c.draft, key, value, u.revision)
		opened++
	}
	if opened > 0 {
		c.options.Logger.Info("records that did not open do so now", "count", opened)
		c.publish(e)
	}
	return e
}
