package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

// lastCommit is the revision of the last commit that any gateway has made, as far as
// it was read.
type lastCommit struct {
	// turn is held by who reads it.
	turn chan struct{}
	// began is when the latest reading began that succeeded.
	began    time.Time
	revision int64
}

// CatchUp waits until requests to this gateway see what was committed before the
// call, by whichever gateway. The error is the store's or ctx's.
//
// Strangers can bring it about, so however many wait at a time, the store is asked
// for one of them after the other, and what it says counts for all who asked before.
func (c *Catalog) CatchUp(ctx context.Context) error {
	asked := time.Now()
	select {
	case c.last.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	revision, err := c.readLast(ctx, asked)
	<-c.last.turn
	if err != nil {
		return err
	}
	c.await(ctx, revision)
	return ctx.Err()
}

// readLast returns the revision of the last commit before asked, or of a later one.
// c.last.turn is held.
func (c *Catalog) readLast(ctx context.Context, asked time.Time) (revision int64, err error) {
	if c.last.began.After(asked) {
		return c.last.revision, nil
	}
	began := time.Now()
	found, err := c.options.Store.Get(ctx, lastKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) { // nobody has committed anything
		return 0, fmt.Errorf("read which commit is the last: %w", err)
	}
	c.last.began, c.last.revision = began, found.Revision
	return found.Revision, nil
}
