// Package maintenance does to a store what administrators do without a session, but
// with access to where it lies: back it up, seal it anew, make a new administrator.
//
// A Keeper does it in the process that has the store open. A database in a data
// folder can be open in one process only, and that is mostly the gateway: its Server
// listens on a socket in the folder, and a Client of the same folder has its Keeper
// do the work. The socket is for the gateway's own user, and root: for who could read
// the folder anyway.
package maintenance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// Auditor records what is done. What can't be recorded is not done.
type Auditor interface {
	Write(*audit.Event) error
}

// Sealer seals a store anew. Package seal has one.
type Sealer interface {
	// Refresh takes the key file into use as it is now.
	Refresh() error
	Reseal(ctx context.Context, s store.Store) (resealed int, err error)
}

// Administrators makes a new administrator. Package catalog has one.
type Administrators interface {
	ResetAdministrator(ctx context.Context) (catalog.Credentials, error)
}

// SigningKeys replaces the keys that sign sessions. Package keys has one.
type SigningKeys interface {
	// Rotate adds a key, which signs from the returned time on.
	Rotate(ctx context.Context) (from time.Time, err error)
	// Replace puts a key in the place of all others; all sessions end.
	Replace(ctx context.Context) error
}

// Keeper does the work on a store that this process has open.
type Keeper struct {
	Store store.Store
	// Sealer and Administrators are not needed for backups.
	Sealer         Sealer
	Administrators Administrators
	// SigningKeys is nil if they are in a file of the administrator's.
	SigningKeys SigningKeys
	Audit       Auditor
	// Caller says in the audit log who asks.
	Caller string
}

// Resealed is what became of the sealed values.
type Resealed struct {
	// Count is how many were sealed anew.
	Count int `json:"count"`
	// Usage is under which keys they are now.
	Usage seal.Usage `json:"usage"`
}

// Backup writes everything that is in the store at one moment. What w has got is a
// backup only if it returns no error.
func (k *Keeper) Backup(ctx context.Context, w io.Writer) error {
	if err := k.record("store-backup"); err != nil {
		return err
	}
	_, err := store.Backup(ctx, k.Store, w)
	return err
}

// Reseal seals everything under the key that seals now according to the key file.
func (k *Keeper) Reseal(ctx context.Context) (Resealed, error) {
	if err := k.record("store-reseal"); err != nil {
		return Resealed{}, err
	}
	if err := k.Sealer.Refresh(); err != nil {
		return Resealed{}, err
	}
	n, err := k.Sealer.Reseal(ctx, k.Store)
	if err != nil {
		return Resealed{}, fmt.Errorf("after %d values: %w", n, err)
	}
	usage, err := seal.Survey(ctx, k.Store)
	return Resealed{Count: n, Usage: usage}, err
}

// ResetAdministrator makes a new access id and key for the administrator.
func (k *Keeper) ResetAdministrator(ctx context.Context) (catalog.Credentials, error) {
	if err := k.record("administrator-reset-request"); err != nil {
		return catalog.Credentials{}, err
	}
	return k.Administrators.ResetAdministrator(ctx)
}

// Rotated is what became of the signing keys.
type Rotated struct {
	// From is when the new key begins to sign.
	From time.Time `json:"from"`
}

// RotateSigningKey adds a key that signs sessions once everybody knows it.
func (k *Keeper) RotateSigningKey(ctx context.Context) (done Rotated, err error) {
	err = k.onSigningKeys("signing-key-rotate", func() (err error) {
		done.From, err = k.SigningKeys.Rotate(ctx)
		return err
	})
	return done, err
}

// ReplaceSigningKeys puts a key in the place of those that sign and verify sessions,
// at once. All sessions end.
func (k *Keeper) ReplaceSigningKeys(ctx context.Context) error {
	return k.onSigningKeys("signing-keys-replace", func() error { return k.SigningKeys.Replace(ctx) })
}

func (k *Keeper) onSigningKeys(event string, do func() error) error {
	if k.SigningKeys == nil {
		return errors.New("the signing keys are in the file of --signing-keys-file; change that")
	}
	if err := k.record(event); err != nil {
		return err
	}
	return do()
}

func (k *Keeper) record(what string) error {
	event := audit.Event{
		Time: time.Now().UTC(), Event: what, Result: audit.Granted, Reason: "ok",
		Protocol: "maintenance", Client: k.Caller,
	}
	if err := k.Audit.Write(&event); err != nil {
		return errors.Join(catalog.ErrUnrecorded, err)
	}
	return nil
}
