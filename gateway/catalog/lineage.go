package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

// nameStore gives a store its name if it has none. Sessions carry it, because the
// generations of one store mean nothing to another: replicas may have a store each,
// and share signing keys.
func (c *Catalog) nameStore(ctx context.Context) {
	_, err := c.options.Store.Get(ctx, lineageKey)
	if !errors.Is(err, store.ErrNotFound) {
		return // what else is wrong, who reads the whole store meets too
	}
	record, err := newLineage()
	if err == nil {
		_, err = c.options.Store.Commit(ctx, record)
	}
	if err != nil && !errors.Is(err, store.ErrConflict) {
		c.options.Logger.Warn("the store can't be given a name; until it has one, revocations go by the clock", "error", err)
	}
}

func newLineage() (store.Op, error) {
	record, err := encode(lineageRecord{randomText(generationSize)})
	return store.Create(lineageKey, record), err
}

// restoredKey is where a store says that it was restored from a backup, and that no
// gateway has taken notice yet. It is not sealed: who restores needs no keys. Who
// makes it up ends sessions.
const restoredKey = "restored"

// MarkRestored has the first gateway on a store that was restored revoke all sessions
// that were issued until then: what was revoked after the backup is not known any
// more. It belongs into the commit that ends the restore.
func MarkRestored() store.Op { return store.Put(restoredKey, nil) }

// endRestored revokes them: all of the store that the backup was made of, and of
// others those that were issued until now. The store gets another name, and its clock
// begins anew, because revisions do.
func (c *Catalog) endRestored(ctx context.Context) error {
	mark, err := c.options.Store.Get(ctx, restoredKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find out whether the store was restored: %w", err)
	}
	old, err := c.storedLineage(ctx)
	if err != nil {
		return fmt.Errorf("read the name of the store that was restored: %w", err)
	}
	record, err := encode(revocationRecord{Before: time.Now().Add(skew).Unix(), Lineage: old})
	if err != nil {
		return err
	}
	name, err := newLineage()
	if err != nil {
		return err
	}
	name.Revision = store.Any
	if err := c.recordSystem("restored-sessions-revoke", ""); err != nil {
		return err
	}
	_, err = c.options.Store.Commit(ctx, store.Put(revokedBeforeKey, record), name, store.Delete(ticksKey, store.Any), store.Delete(restoredKey, mark.Revision))
	if errors.Is(err, store.ErrConflict) {
		return nil // another gateway was faster
	}
	if err != nil {
		return fmt.Errorf("revoke the sessions of before the restore: %w", err)
	}
	c.options.Logger.Info("the store was restored from a backup; all sessions that were issued before are revoked")
	return nil
}

// storedLineage reads the store's name; it is empty in one of an older version.
func (c *Catalog) storedLineage(ctx context.Context) (string, error) {
	found, err := c.options.Store.Get(ctx, lineageKey)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	record, err := decode[lineageRecord](found.Value)
	return record.ID, err
}
