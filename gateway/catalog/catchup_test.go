package catalog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

// slowStore is one that nobody has committed to, and takes a while to say so.
type slowStore struct {
	store.Store

	took  time.Duration
	asked int
}

func (s *slowStore) Get(ctx context.Context, _ string) (store.Item, error) {
	s.asked++
	select {
	case <-time.After(s.took):
		return store.Item{}, store.ErrNotFound
	case <-ctx.Done():
		return store.Item{}, ctx.Err()
	}
}

func TestCatchUp(t *testing.T) {
	t.Parallel()
	sealer := newSealer(t)
	catchUp := func(t *testing.T, test func(*testing.T, *Catalog, *slowStore)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			slow := &slowStore{took: time.Millisecond}
			c, err := New(Options{Store: slow, Seal: sealer, Audit: &ledger{}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			test(t, c, slow)
		})
	}
	t.Run("of many at a time asks the store for the first, and for the others", func(t *testing.T) {
		t.Parallel()
		catchUp(t, func(t *testing.T, c *Catalog, slow *slowStore) {
			began := time.Now()
			var waits sync.WaitGroup
			for range 50 {
				waits.Go(func() {
					if err := c.CatchUp(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			waits.Wait()
			if took := time.Since(began); slow.asked != 2 || took != 2*slow.took {
				t.Errorf("the store was asked %d times in %s", slow.asked, took)
			}
		})
	})
	t.Run("of one after the other asks it for each", func(t *testing.T) {
		t.Parallel()
		catchUp(t, func(t *testing.T, c *Catalog, slow *slowStore) {
			for range 3 {
				if err := c.CatchUp(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if slow.asked != 3 {
				t.Errorf("the store was asked %d times", slow.asked)
			}
		})
	})
	t.Run("of a store that hangs ends with the context, whoever's turn it is, and leaves the turn to others", func(t *testing.T) {
		t.Parallel()
		catchUp(t, func(t *testing.T, c *Catalog, slow *slowStore) {
			slow.took = time.Hour
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			var waits sync.WaitGroup
			for range 3 {
				waits.Go(func() {
					if err := c.CatchUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%v", err)
					}
				})
			}
			waits.Wait()
			if took := time.Since(began); took != time.Second {
				t.Errorf("it took %s", took)
			}
			slow.took = time.Millisecond
			if err := c.CatchUp(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("waits for the commit to be seen", func(t *testing.T) {
		t.Parallel()
		catchUp(t, func(t *testing.T, c *Catalog, _ *slowStore) {
			c.last.began, c.last.revision = time.Now().Add(time.Hour), 7
			seen := false
			time.AfterFunc(time.Second, func() {
				seen = true
				c.settle(t.Context(), 0, 7)
			})
			if err := c.CatchUp(t.Context()); err != nil || !seen {
				t.Errorf("it was seen: %t, %v", seen, err)
			}
		})
	})
}
