package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

// restoredKey is where a store says that it was restored from a backup, and that no
// gateway has taken notice yet. It is not sealed: who restores needs no keys. Who
// makes it up ends sessions.
const restoredKey = "restored"

// MarkRestored has the first gateway on a store that was restored revoke all sessions
// that were issued until then: what was revoked after the backup is not known any
// more. It belongs into the commit that ends the restore.
func MarkRestored() store.Op { return store.Put(restoredKey, nil) }

// endRestored revokes them.
func (c *Catalog) endRestored(ctx context.Context) error {
	mark, err := c.options.Store.Get(ctx, restoredKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find out whether the store was restored: %w", err)
	}
	record, err := encode(revocationRecord{Before: time.Now().Add(skew).Unix()})
	if err != nil {
		return err
	}
	if err := c.recordSystem("restored-sessions-revoke", ""); err != nil {
		return err
	}
	_, err = c.options.Store.Commit(ctx, store.Put(revokedBeforeKey, record), store.Delete(restoredKey, mark.Revision))
	if errors.Is(err, store.ErrConflict) {
		return nil // another gateway was faster
	}
	if err != nil {
		return fmt.Errorf("revoke the sessions of before the restore: %w", err)
	}
	c.options.Logger.Info("the store was restored from a backup; all sessions that were issued before are revoked")
	return nil
}
