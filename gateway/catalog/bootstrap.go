package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/store"
)

// Credentials are what the administrator logs in with.
type Credentials struct {
	AccessID  string
	AccessKey string
}

// check refuses credentials that were not made here: a key is hashed once and
// without salt, which is safe only for one that nobody can guess.
func (c Credentials) check() error {
	if !generatedID.MatchString(c.AccessID) {
		return errors.New("the access id is not one that a gateway made")
	}
	if key, err := base64.RawURLEncoding.Strict().DecodeString(c.AccessKey); err != nil || len(key) != accessKeySize {
		return errors.New("the access key is not one that a gateway made")
	}
	return nil
}

// generatedID is what newAccessID makes for the administrator.
var generatedID = regexp.MustCompile(`^p-[a-z0-9]{12}a[a-z0-9]$`)

// Bootstrap makes the administrator's auth method in a store that never had one,
// and returns its credentials, or nil if it has another one. Of several gateways
// that start at the same time one does it.
//
// Keep, if set, gets new credentials before they are good for anything. It returns
// those that are kept then, which become the administrator's: these, or others that
// it kept earlier. So none are lost, whenever a gateway ends in the middle of this, and
// gateways with one place to keep them agree. If it fails nothing is made.
func (c *Catalog) Bootstrap(ctx context.Context, keep func(context.Context, Credentials) (Credentials, error)) (*Credentials, error) {
	if err := c.Ready(); err != nil {
		return nil, fmt.Errorf("make the administrator: %w", err)
	}
	if c.View().administrator != "" {
		return nil, nil //nolint:nilnil // that is how there is nothing to tell
	}
	credentials := newCredentials()
	if keep != nil {
		var err error
		if credentials, err = keep(ctx, credentials); err != nil {
			return nil, fmt.Errorf("make the administrator: %w", err)
		}
	}
	ops, err := c.newAdministrator(credentials, store.Absent)
	if err != nil {
		return nil, fmt.Errorf("make the administrator: %w", err)
	}
	if err := c.recordSystem("administrator-create", credentials.AccessID); err != nil {
		return nil, err
	}
	revision, err := c.options.Store.Commit(ctx, ops...)
	if errors.Is(err, store.ErrConflict) {
		// Another gateway was faster, maybe with the same credentials; or this one
		// was, in a try of which it did not learn that it succeeded.
		var who string
		if who, revision, err = c.storedAdministrator(ctx); err == nil && who != credentials.AccessID {
			return nil, nil //nolint:nilnil // see above
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make the administrator: %w", err)
	}
	c.await(ctx, revision)
	return &credentials, nil
}

func newCredentials() Credentials {
	key, _ := newAccessKey()
	return Credentials{newAccessID(TypeAccessKey), key}
}

// newAdministrator makes the operations that make the administrator's auth method
// anew. The condition is on the record that says who the administrator is.
func (c *Catalog) newAdministrator(of Credentials, condition int64) ([]store.Op, error) {
	if err := of.check(); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	m := &method{name: administratorMethod}
	m.AccessID, m.Type = of.AccessID, TypeAccessKey
	m.Description = "The administrator"
	m.Created, m.Modified = now, now
	hash := sha256.Sum256([]byte(of.AccessKey))
	m.AccessKeyHash = hash[:]
	record, err := encode(m.methodRecord)
	if err != nil {
		return nil, err
	}
	who, err := encode(administratorRecord{AccessID: m.AccessID, Created: now})
	if err != nil {
		return nil, err
	}
	return []store.Op{
		{Action: store.ActionPut, Key: administratorKey, Value: who, Revision: condition},
		store.Put(m.key(), record),
		store.Put(accessIDPrefix+m.AccessID, []byte("{}")),
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
	credentials := newCredentials()
	ops, err := c.newAdministrator(credentials, condition)
	if err != nil {
		return Credentials{}, fmt.Errorf("reset the administrator: %w", err)
	}
	if old != "" {
		ops = append(ops, store.Delete(accessIDPrefix+old, store.Any))
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
