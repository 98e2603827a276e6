package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// Before, sessions were signed with the private keys of auth methods. These records
// held them; nothing reads them any more.
const (
	methodKeyPrefix   = seal.Prefix + "signing-key/"
	declaredKeyPrefix = seal.Prefix + "declared-signing-key/"
)

// methodKeysInterval is how often they are looked for: a gateway of an older version,
// which runs beside while it is replaced, or a backup may bring some.
const methodKeysInterval = time.Hour

// removeMethodKeys removes the private keys of auth methods from the store, and
// returns how many. A gateway of an older version that runs beside has them in memory
// and goes on: the records that name them stay.
func (c *Catalog) removeMethodKeys(ctx context.Context) (removed int, err error) {
	for _, step := range []struct {
		prefix string
		change func(store.Item) (store.Op, error)
	}{
		{methodKeyPrefix, func(i store.Item) (store.Op, error) { return store.Delete(i.Key, i.Revision), nil }},
		{declaredKeyPrefix, func(i store.Item) (store.Op, error) { return store.Delete(i.Key, i.Revision), nil }},
		{configSecretPrefix, c.withoutMethodKey},
	} {
		n, err := c.changeAll(ctx, step.prefix, step.change)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("remove the private keys of auth methods: %w", err)
		}
	}
	return removed, nil
}

// withoutMethodKey takes the private key out of an auth config's secrets. The record
// keeps its number, so that nobody has to read it again.
func (c *Catalog) withoutMethodKey(i store.Item) (store.Op, error) {
	plain, err := c.options.Seal.Open(i.Key, i.Value)
	if err != nil {
		return store.Op{}, err
	}
	defer clear(plain)
	if !strings.Contains(string(plain), `"signing_key"`) {
		return store.Op{}, nil
	}
	secrets, err := decode[configSecrets](plain)
	if err != nil {
		return store.Op{}, fmt.Errorf("%s can't be read", i.Key)
	}
	rest, err := json.Marshal(secrets)
	if err != nil {
		return store.Op{}, fmt.Errorf("write the secrets of an auth config: %w", err)
	}
	defer clear(rest)
	sealed, err := c.options.Seal.Seal(i.Key, rest)
	if err != nil {
		return store.Op{}, fmt.Errorf("seal the secrets of an auth config: %w", err)
	}
	return store.Update(i.Key, sealed, i.Revision), nil
}

// changeAll commits what a function makes of each record, or nothing where it returns
// no operation, and returns how many it has changed. What another gateway changes
// meanwhile is left to the next time.
func (c *Catalog) changeAll(ctx context.Context, prefix string, change func(store.Item) (store.Op, error)) (changed int, err error) {
	const size = 32 // of a page and a commit: secrets have some kilobytes each
	q := store.Query{Prefix: prefix, Limit: size}
	for {
		page, err := c.options.Store.List(ctx, q)
		if err != nil {
			return changed, err
		}
		var ops []store.Op
		for _, item := range page.Items {
			op, err := change(item)
			if err != nil {
				return changed, err
			}
			if op.Key != "" {
				ops = append(ops, op)
			}
		}
		if len(ops) > 0 {
			_, err := c.options.Store.Commit(ctx, ops...)
			if err == nil {
				changed += len(ops)
			} else if !errors.Is(err, store.ErrConflict) {
				return changed, err
			}
		}
		if q.After = page.Next; q.After == "" {
			return changed, nil
		}
	}
}
