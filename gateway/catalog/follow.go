package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

// Pauses before the store is read again after a failure.
const (
	minPause = 200 * time.Millisecond
	maxPause = 5 * time.Second
)

// reopenInterval is how often records that do not open are tried again.
const reopenInterval = time.Second

// errUnopened means that a record of the store does not open.
var errUnopened = errors.New("the store holds what these keys did not seal")

// Run follows the store until ctx is done, and then returns nil. An outage of the
// store leaves the view as it is. If a record does not open when the store is read
// for the first time, Run returns an error that names it.
func (c *Catalog) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beside.Go(func() { c.clean(ctx) })
	beside.Go(func() { c.retry(ctx) })
	beside.Go(func() { c.followFile(ctx) })
	pause := minPause
	for {
		began := time.Now()
		err := c.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errUnopened) && c.Ready() != nil {
			return fmt.Errorf("read the store: %w", err)
		}
		if errors.Is(err, store.ErrCompacted) {
			c.options.Logger.Info("the store has moved on too far; it is read anew")
		} else {
			c.options.Logger.Error("the store can't be followed; what is in memory stays in use", "error", err)
		}
		if time.Since(began) > maxPause {
			pause = minPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		pause = min(2*pause, maxPause)
	}
}

// follow reads everything, and then what changes, until it fails.
func (c *Catalog) follow(ctx context.Context) error {
	if err := c.endRestored(ctx); err != nil {
		return err
	}
	c.nameStore(ctx)
	next := newView()
	revision, err := c.options.Store.Snapshot(ctx, prefix, func(i store.Item) error {
		value, err := c.options.Seal.Open(i.Key, i.Value)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnopened, err)
		}
		c.apply(next, i.Key, value, i.Revision)
		return nil
	})
	if errors.Is(err, errUnopened) {
		c.mu.Lock()
		c.unopened[unread] = unopened{err: err}
		c.mu.Unlock()
	}
	if err != nil {
		return err
	}
	next.revision = max(revision, 1) // 0 means that nothing was read
	c.replace(ctx, next, revision)
	for event, err := range c.options.Store.Watch(ctx, prefix, revision) {
		if err != nil {
			return err
		}
		c.advance(ctx, event)
	}
	return nil
}

// retry has the view take what opens by now, until ctx is done.
func (c *Catalog) retry(ctx context.Context) {
	ticker := time.NewTicker(reopenInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if e := c.reopen(); e&onLogins != 0 && c.options.Changed != nil {
			c.options.Changed(ctx)
		}
		c.saveBound(ctx)
	}
}

// apply puts a record, opened, into a view. One that can't be read leaves the view
// as it is, and gets nobody else into trouble.
func (c *Catalog) apply(v *View, key string, value []byte, revision int64) effect {
	e, err := v.apply(key, value, revision)
	if err != nil {
		c.options.Logger.Error("a record of the store is left out", "error", err)
	}
	return e
}

// replace takes a view that was read anew, of a store's revision: 0 if it is empty,
// so that its first commit is waited for like any other.
func (c *Catalog) replace(ctx context.Context, next *View, revision int64) {
	c.mu.Lock()
	next.file, next.logins = c.draft.file, c.draft.logins
	c.draft = next
	if c.began == 0 {
		c.began = next.revision
	}
	clear(c.unopened)
	c.publish(onLogins | onPolicy)
	c.warnHidden()
	c.mu.Unlock()
	c.settle(ctx, onLogins, revision)
}

// advance takes what a commit changed.
func (c *Catalog) advance(ctx context.Context, event store.Event) {
	c.mu.Lock()
	var e effect
	for _, change := range event.Changes {
		var value []byte // nil of one that is deleted
		if !change.Deleted {
			var err error
			if value, err = c.options.Seal.Open(change.Key, change.Value); err != nil {
				c.keepUnopened(change.Key, change.Value, event.Revision, err)
				continue
			}
		}
		delete(c.unopened, change.Key)
		e |= c.apply(c.draft, change.Key, value, event.Revision)
	}
	c.draft.revision = event.Revision
	c.publish(e)
	c.mu.Unlock()
	c.settle(ctx, e, event.Revision)
}

// settle tells of a change, and then lets those go on who made it.
func (c *Catalog) settle(ctx context.Context, e effect, revision int64) {
	if e&onLogins != 0 && c.options.Changed != nil {
		c.options.Changed(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = revision
	c.signal()
}
