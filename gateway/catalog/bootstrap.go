package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/store"
)

// Credentials are what the administrator logs in with.
type Credentials struct {
	AccessID  string
	AccessKey string
}

// Bootstrap makes the administrator's auth method in a store that never had one,
// and returns its credentials, or nil if there was one. Of several gateways that
// start at the same time one does it. Deliver, if set, is called with the
// credentials before they are good for anything, so that they can't get lost: if it
// fails nothing is made, and if Bootstrap returns none they are worthless.
func (c *Catalog) Bootstrap(ctx context.Context, deliver func(Credentials) error) (*Credentials, error) {
	if err := c.Ready(); err != nil {
		return nil, fmt.Errorf("make the administrator: %w", err)
	}
	if c.View().administrator != "" {
		return nil, nil //nolint:nilnil // that is how there is nothing to tell
	}
	credentials, ops, err := c.newAdministrator(newAccessID(TypeAccessKey), store.Absent)
	if err != nil {
		return nil, fmt.Errorf("make the administrator: %w", err)
	}
	if err := c.recordSystem("administrator-create", credentials.AccessID); err != nil {
		return nil, err
	}
	if deliver != nil {
		if err := deliver(credentials); err != nil {
			return nil, fmt.Errorf("make the administrator: %w", err)
		}
	}
	revision, err := c.options.Store.Commit(ctx, ops...)
	switch {
	case errors.Is(err, store.ErrConflict):
		return nil, nil //nolint:nilnil // another gateway was faster
	case err != nil:
		return nil, fmt.Errorf("make the administrator: %w", err)
	}
	c.await(ctx, revision)
	return &credentials, nil
}

// newAdministrator makes the operations that make the administrator's auth method
// anew. The condition is on the record that says who the administrator is.
func (c *Catalog) newAdministrator(accessID string, condition int64) (Credentials, []store.Op, error) {
	now := time.Now().UTC()
	m := &method{name: administratorMethod}
	m.AccessID, m.Type, m.Key = accessID, TypeAccessKey, 1
	m.Description = "The administrator"
	m.Created, m.Modified = now, now
	var key string
	key, m.AccessKeyHash = newAccessKey()
	private, public, err := generateKey()
	if err != nil {
		return Credentials{}, nil, err
	}
	defer clear(private)
	m.PublicKey = public
	sealed, err := c.options.Seal.Seal(signingKeyKey(accessID, m.Key), private)
	if err != nil {
		return Credentials{}, nil, fmt.Errorf("seal the signing key: %w", err)
	}
	record, err := encode(m.methodRecord)
	if err != nil {
		return Credentials{}, nil, err
	}
	who, err := encode(administratorRecord{AccessID: accessID, Created: now})
	if err != nil {
		return Credentials{}, nil, err
	}
	return Credentials{accessID, key}, []store.Op{
		{Action: store.ActionPut, Key: administratorKey, Value: who, Revision: condition},
		store.Put(m.key(), record),
		store.Put(signingKeyKey(accessID, m.Key), sealed),
		store.Put(accessIDPrefix+accessID, []byte("{}")),
	}, nil
}

// ResetAdministrator is for who has lost the administrator's key but has the store:
// it makes a new access id and key, in the place of the old ones if there are any.
// Sessions of the old ones end. Catalogs that run see it; c need not.
func (c *Catalog) ResetAdministrator(ctx context.Context) (Credentials, error) {
	old, condition, err := c.storedAdministrator(ctx)
	if err != nil {
		return Credentials{}, fmt.Errorf("reset the administrator: %w", err)
	}
	credentials, ops, err := c.newAdministrator(newAccessID(TypeAccessKey), condition)
	if err != nil {
		return Credentials{}, fmt.Errorf("reset the administrator: %w", err)
	}
	if old != "" {
		ops = append(ops, store.Delete(accessIDPrefix+old, store.Any), store.Delete(signingKeyKey(old, 1), store.Any))
	}
	if err := c.recordSystem("administrator-reset", credentials.AccessID); err != nil {
		return Credentials{}, err
	}
	if _, err := c.options.Store.Commit(ctx, ops...); err != nil {
		return Credentials{}, fmt.Errorf("reset the administrator: %w", err)
	}
	return credentials, nil
}

// storedAdministrator reads who the administrator is, and the revision of that.
func (c *Catalog) storedAdministrator(ctx context.Context) (accessID string, revision int64, err error) {
	found, err := c.options.Store.Get(ctx, administratorKey)
	if errors.Is(err, store.ErrNotFound) {
		return "", store.Absent, nil
	}
	if err != nil {
		return "", 0, err
	}
	record, err := decode[administratorRecord](found.Value)
	return record.AccessID, found.Revision, err
}

// recordSystem records what nobody with a session does.
func (c *Catalog) recordSystem(what, accessID string) error {
	event := audit.Event{Time: time.Now().UTC(), Event: what, Result: audit.Granted, Reason: reasonOK, Object: administratorMethod, AccessID: accessID}
	if err := c.options.Audit.Write(&event); err != nil {
		return errors.Join(ErrUnrecorded, err)
	}
	return nil
}

// Issuer returns the issuer of sessions that the store keeps for gateways without a
// configuration file, and keeps the given one if there is none, so that all
// gateways of a store name the same.
func (c *Catalog) Issuer(ctx context.Context, otherwise string) (string, error) {
	record, err := encode(issuerRecord{otherwise})
	if err != nil {
		return "", err
	}
	found, err := c.options.Store.Get(ctx, issuerKey)
	if errors.Is(err, store.ErrNotFound) {
		if _, err = c.options.Store.Commit(ctx, store.Create(issuerKey, record)); err == nil {
			return otherwise, nil
		}
		if errors.Is(err, store.ErrConflict) {
			found, err = c.options.Store.Get(ctx, issuerKey)
		}
	}
	if err != nil {
		return "", fmt.Errorf("read the issuer: %w", err)
	}
	kept, err := decode[issuerRecord](found.Value)
	if err != nil {
		return "", fmt.Errorf("read the issuer: %w", err)
	}
	return kept.Issuer, nil
}
