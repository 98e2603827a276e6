package catalog

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/store"
)

// Sealer seals what must not be read in the store. Package seal has one.
type Sealer interface {
	Seal(recordKey string, value []byte) ([]byte, error)
	Open(recordKey string, sealed []byte) ([]byte, error)
}

// Auditor records what was asked and what came of it. What can't be recorded is
// not done.
type Auditor interface {
	Write(*audit.Event) error
}

// Options configure a Catalog.
type Options struct {
	Store  store.Store
	Seal   Sealer
	Audit  Auditor
	Logger *slog.Logger
	// Changed, if set, is called with every view whose auth methods or Kubernetes
	// auth configs are others than before, and before anybody who made the change
	// gets an answer.
	Changed func(context.Context, *View)
}

// Catalog is the store's objects and those of the configuration file.
type Catalog struct {
	options Options
	view    atomic.Pointer[View]
}

// New makes a catalog that is empty until Run has read the store.
func New(o Options) (*Catalog, error) {
	if o.Store == nil || o.Seal == nil || o.Audit == nil || o.Logger == nil {
		return nil, errors.New("catalog: Store, Seal, Audit and Logger must be set")
	}
	c := &Catalog{options: o}
	c.view.Store(&View{})
	return c, nil
}

// Run follows the store until ctx is done, and then returns nil.
func (c *Catalog) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// View returns what there is at present. It never changes, and is never nil.
func (c *Catalog) View() *View { return c.view.Load() }

// As does what a caller asks.
func (c *Catalog) As(Caller) Accessor { return nil }

// CallerOf is the caller that a session was issued to. Client is the address of
// the connection, protocol "v2" or "vault".
func CallerOf(s *session.Claims, client, protocol string) Caller {
	return Caller{
		AccessID:  s.AccessID,
		SubClaims: s.SubClaims,
		Subject:   s.Subject,
		Session:   s.ID,
		Client:    client,
		Protocol:  protocol,
	}
}

// View is the catalog at one moment, without the secrets.
type View struct{}

// Check says whether a session that is valid by itself was revoked, or ended
// because its lease was not renewed or its auth method was switched off. The
// errors are package session's.
func (v *View) Check(*session.Claims, time.Time) error { return nil }

// LeaseEnd is when a session ends unless it is renewed: the later one of its first
// lease and what it was renewed until, or its expiry if it has no lease.
func (v *View) LeaseEnd(s *session.Claims) time.Time { return s.ExpiresAt() }

// IssueTime is the time to sign a new session with: now, or a moment later if
// sessions of this subject were revoked just now, so that the new one is not taken
// for one of those.
func (v *View) IssueTime(_, _ string, now time.Time) time.Time { return now }

// VerifyAccessKey says whether an access key is the one of an access id. It takes
// the same time whichever is wrong.
func (v *View) VerifyAccessKey(_, _ string) bool { return false }

// Policy holds all roles.
func (v *View) Policy() *access.Policy { return nil }

// Settings are the account's.
func (v *View) Settings() Settings { return Settings{} }
