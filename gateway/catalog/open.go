package catalog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

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
	// Changed, if set, is called when auth methods, Kubernetes auth configs or
	// settings in the store have become others, and before anybody who made the
	// change gets an answer.
	Changed func(context.Context)
	// Usable, if set, says why an auth config, with its secrets, can't be used for
	// logins. It is not written then.
	Usable func(*AuthConfig) error
	// CacheSize is how many bytes of sealed values are kept in memory; zero means
	// the default.
	CacheSize int
}

// DefaultCacheSize has room for some 50,000 passwords.
const DefaultCacheSize = 16 << 20

// Catalog is the store's objects and those of the configuration file. It is safe
// for concurrent use.
type Catalog struct {
	options Options
	values  *valueCache
	secrets secretCache

	view atomic.Pointer[View]

	mu sync.Mutex
	// draft is the view that the next one is cloned from; nobody else has it.
	draft *View
	// hasFile is whether SetFile was called.
	hasFile bool
	// unopened are the records that do not open, by key.
	unopened map[string]unopened
	// settled is the revision up to which Changed was told everything, and moved
	// is closed when it or the view is another.
	settled int64
	moved   chan struct{}
	// gone are the access ids that have left the configuration file and whose sessions
	// are to be revoked. fileChanged tells of another file. began is the revision as of
	// which the store was first read.
	gone        map[string]bool
	fileChanged chan struct{}
	began       int64

	last lastCommit
}

// New makes a catalog that is empty until Run has read the store.
func New(o Options) (*Catalog, error) {
	if o.Store == nil || o.Seal == nil || o.Audit == nil || o.Logger == nil {
		return nil, errors.New("catalog: Store, Seal, Audit and Logger must be set")
	}
	if o.CacheSize == 0 {
		o.CacheSize = DefaultCacheSize
	}
	o.Store = records{o.Store, o.Seal}
	c := &Catalog{
		options: o, values: newValueCache(o.CacheSize), draft: newView(), unopened: map[string]unopened{},
		moved: make(chan struct{}), gone: map[string]bool{}, fileChanged: make(chan struct{}, 1), last: lastCommit{turn: make(chan struct{}, 1)},
	}
	c.publish(onLogins | onPolicy)
	return c, nil
}

// View returns what there is at present. It is never nil.
func (c *Catalog) View() *View { return c.view.Load() }

// Ready is nil once the store has been read. An outage of the store after that
// does not change it: sessions can be validated.
func (c *Catalog) Ready() error {
	if c.View().revision == 0 {
		return errNotRead
	}
	return nil
}

// CallerOf is the caller that a session was issued to. Client is the address of
// the connection, protocol "v2" or "vault".
func CallerOf(s *session.Claims, client, protocol string) Caller {
	return Caller{
		AccessID:  s.AccessID,
		SubClaims: s.SubClaims,
		Subject:   s.Subject,
		Session:   s.ID,
		Life:      s.Life(),
		Client:    client,
		Protocol:  protocol,
	}
}

// publish shows the draft as it is. c.mu is held.
func (c *Catalog) publish(e effect) {
	if c.hasFile { // else it is not known which names are the file's
		c.draft.bind(c.options.Logger)
	}
	if e&onLogins != 0 {
		c.draft.logins++
	}
	next := c.draft.clone()
	if e&onPolicy != 0 {
		next.policy = next.compiled(c.options.Logger)
		c.draft.policy = next.policy
	}
	c.view.Store(next)
	c.signal()
}

// signal wakes those who wait. c.mu is held.
func (c *Catalog) signal() {
	close(c.moved)
	c.moved = make(chan struct{})
}

// present returns the view, how far it is settled, and what is closed when either
// changes.
func (c *Catalog) present() (*View, int64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.View(), c.settled, c.moved
}

// await waits until what was committed at a revision can be seen, by requests to
// this gateway as well. It gives up when ctx is done: the change lasts anyway.
func (c *Catalog) await(ctx context.Context, revision int64) {
	for {
		_, settled, moved := c.present()
		if settled >= revision {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// maxWait is how long a writer that lost against another waits for the view to
// show what the other did, before it tries again.
const maxWait = 100 * time.Millisecond

// overtaken waits until there is a later view.
func (c *Catalog) overtaken(ctx context.Context, than *View) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	for {
		v, _, moved := c.present()
		if v.revision > than.revision {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}
