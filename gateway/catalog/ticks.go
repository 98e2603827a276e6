package catalog

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

const (
	// tickInterval is at least between two ticks of the store's clock.
	tickInterval = 10 * time.Minute
	// maxTicks are enough for the longest life of a record.
	maxTicks = int(recordLife/tickInterval) + 6
)

// ticker adds ticks to the store's clock, which decides when records may be removed
// for all: the clock of one gateway may be ahead by hours. A tick is a note of the
// store's revision. A gateway makes one when it has seen none for the interval by its
// monotonic clock, which no change of the time of day moves, so however many gateways
// there are, and whatever their clocks say, ticks are never closer.
type ticker struct {
	seen  int64 // the revision of the last tick
	since time.Time
}

// tick makes a tick if it is time.
func (t *ticker) tick(ctx context.Context, c *Catalog) error {
	v := c.View()
	if t.since.IsZero() || t.seen != v.ticksRevision {
		t.seen, t.since = v.ticksRevision, time.Now()
		return nil
	}
	if time.Since(t.since) < tickInterval {
		return nil
	}
	return c.addTick(ctx, v)
}

func (c *Catalog) addTick(ctx context.Context, v *View) error {
	ticks := append(slices.Clone(v.ticks), v.revision)
	record, err := encode(ticksRecord{ticks[max(0, len(ticks)-maxTicks):]})
	if err != nil {
		return err
	}
	op := store.Put(ticksKey, record)
	op.Revision = v.ticksRevision // 0 is Absent
	_, err = c.options.Store.Commit(ctx, op)
	if errors.Is(err, store.ErrConflict) {
		return nil // another gateway was faster
	}
	return err
}

// age is for how long a record has been in the store at least, by its revision: for
// the time between the first tick after it was written, and the last one.
func (v *View) age(revision int64) time.Duration {
	first, _ := slices.BinarySearch(v.ticks, revision)
	return time.Duration(max(0, len(v.ticks)-first-1)) * tickInterval
}
