package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/store"
)

// The access ids of the configuration file's auth methods are noted in the store, so
// that a gateway notices also after a restart when a method has left the file. Its
// sessions are revoked then: one that is declared again does not bring them back.

// undeclaredInterval is how often what could not be noted is tried again.
const undeclaredInterval = time.Second

// followFile notes what the configuration file declares, until ctx is done.
func (c *Catalog) followFile(ctx context.Context) {
	tick := time.NewTicker(undeclaredInterval)
	defer tick.Stop()
	last := ""
	for {
		if err := c.noteDeclared(ctx); err == nil {
			last = ""
		} else if ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			c.options.Logger.Warn("the sessions of auth methods that left the configuration file can't be revoked yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.fileChanged:
		}
	}
}

// noteDeclared brings the notes up to date with the file.
func (c *Catalog) noteDeclared(ctx context.Context) error {
	c.mu.Lock()
	v, known, began := c.View(), c.hasFile, c.began
	gone := make(map[string]bool, len(c.gone))
	for id := range c.gone {
		gone[id] = true
	}
	c.mu.Unlock()
	if !known || v.revision == 0 {
		return nil
	}
	for id, revision := range v.declaredMethods.all() {
		// Another gateway, whose file is newer, may have noted what is not in this one's.
		if v.file.methodIDs[id] == nil && revision <= began {
			gone[id] = true
		}
	}
	for id := range gone {
		if err := c.revokeUndeclared(ctx, id); err != nil {
			return err
		}
		c.mu.Lock()
		delete(c.gone, id)
		c.mu.Unlock()
	}
	for id := range v.file.methodIDs {
		if v.declaredMethods.has(id) && !gone[id] {
			continue
		}
		record, err := encode(declaredMethodRecord{})
		if err == nil {
			_, err = c.options.Store.Commit(ctx, store.Create(declaredMethodPrefix+id, record))
		}
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}

// revokeUndeclared revokes the sessions of an auth method that has left the file.
func (c *Catalog) revokeUndeclared(ctx context.Context, accessID string) error {
	now := time.Now()
	record, err := encode(newRevocation(accessID, "", now))
	if err != nil {
		return err
	}
	event := audit.Event{
		Time: now.UTC(), Event: "sessions-revoke", Result: audit.Granted, Reason: reasonOK, AccessID: accessID,
		Detail: "the auth method has left the configuration file",
	}
	if err := c.options.Audit.Write(&event); err != nil {
		return errors.Join(ErrUnrecorded, err)
	}
	revision, err := c.options.Store.Commit(ctx, store.Put(revokedMethodPrefix+accessID, record), store.Delete(declaredMethodPrefix+accessID, store.Any))
	if err == nil {
		c.await(ctx, revision)
	}
	return err
}
