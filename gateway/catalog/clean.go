package catalog

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

// cleanInterval is how often records are removed that have expired. Several
// gateways do it, so each waits up to half as long again.
const cleanInterval = time.Minute

// clean removes expired records until ctx is done, and what an older version kept.
func (c *Catalog) clean(ctx context.Context) {
	var looked time.Time
	var clock ticker
	for {
		timer := time.NewTimer(cleanInterval + rand.N(cleanInterval/2)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := clock.tick(ctx, c); err != nil && ctx.Err() == nil {
			c.options.Logger.Warn("the store's clock stands; expired records stay", "error", err)
		}
		if n, err := c.removeExpired(ctx, time.Now()); err != nil && ctx.Err() == nil {
			c.options.Logger.Warn("expired records can't be removed; the next attempt follows", "error", err)
		} else if n > 0 {
			c.options.Logger.Debug("expired records removed", "count", n)
		}
		if time.Since(looked) < methodKeysInterval {
			continue
		}
		n, err := c.removeMethodKeys(ctx)
		if n > 0 {
			c.options.Logger.Info("private keys of auth methods were removed from the store", "count", n)
		}
		if err == nil {
			looked = time.Now()
		} else if ctx.Err() == nil {
			c.options.Logger.Warn("private keys of auth methods can't be removed from the store; the next attempt follows", "error", err)
		}
	}
}

// removeExpired removes records that have expired by this gateway's clock, and have
// been there for as long as they are to live: by that alone, a gateway whose clock is
// ahead would remove for all what others need. It returns how many.
func (c *Catalog) removeExpired(ctx context.Context, now time.Time) (removed int, err error) {
	v := c.View()
	var batch []store.Op
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := c.options.Store.Commit(ctx, batch...)
		if errors.Is(err, store.ErrConflict) {
			err = nil // another gateway was faster, or a record was extended; the next round sees which
		} else if err == nil {
			removed += len(batch)
		}
		batch = batch[:0]
		return err
	}
	for _, marks := range []struct {
		prefix string
		table  table[mark]
	}{
		{revokedSessionPrefix, v.revokedSessions},
		{revokedIdentityPrefix, v.revokedIdentities},
		{revokedMethodPrefix, v.revokedMethods},
		{leasePrefix, v.leases},
	} {
		for name, m := range marks.table.all() {
			if !m.expired(now) || v.age(m.revision) < m.lives() {
				continue
			}
			batch = append(batch, store.Delete(marks.prefix+name, m.revision))
			if len(batch) == maxOps {
				if err := flush(); err != nil {
					return removed, err
				}
			}
		}
	}
	return removed, flush()
}
