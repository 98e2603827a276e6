package catalog

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// valueCache keeps the sealed records that were read last, so that what is read
// often does not go to the store, and can be read while that is away. A sealed
// record never changes. It is safe for concurrent use.
type valueCache struct {
	mu     sync.Mutex
	byKey  map[string]*list.Element
	recent *list.List // of store.Item, the last used first
	room   int        // bytes
}

func newValueCache(size int) *valueCache {
	return &valueCache{byKey: map[string]*list.Element{}, recent: list.New(), room: size}
}

// cacheOverhead is about what an entry takes besides its key and value.
const cacheOverhead = 200

func sizeOf(i store.Item) int { return len(i.Key) + len(i.Value) + cacheOverhead }

// kept is what an element of recent holds.
func kept(e *list.Element) store.Item {
	item, _ := e.Value.(store.Item) // put puts nothing else in
	return item
}

func (c *valueCache) get(key string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return nil, false
	}
	c.recent.MoveToFront(e)
	return kept(e).Value, true
}

func (c *valueCache) put(i store.Item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(i.Key)
	c.byKey[i.Key] = c.recent.PushFront(i)
	for c.room -= sizeOf(i); c.room < 0; {
		c.remove(kept(c.recent.Back()).Key)
	}
}

func (c *valueCache) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
}

func (c *valueCache) remove(key string) {
	e, ok := c.byKey[key]
	if !ok {
		return
	}
	delete(c.byKey, key)
	c.room += sizeOf(kept(e))
	c.recent.Remove(e)
}

// open returns what a sealed record holds. The error wraps store.ErrNotFound if
// there is no such record.
func (c *Catalog) open(ctx context.Context, key string) ([]byte, error) {
	sealed, cached := c.values.get(key)
	if cached {
		value, err := c.options.Seal.Open(key, sealed)
		if err == nil {
			return value, nil
		}
		if !errors.Is(err, seal.ErrMissingKey) {
			return nil, err
		}
		c.values.drop(key) // it was sealed anew since it was read
	}
	item, err := c.options.Store.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read a sealed record: %w", err)
	}
	value, err := c.options.Seal.Open(key, item.Value)
	if err != nil {
		return nil, err
	}
	c.values.put(item)
	return value, nil
}
