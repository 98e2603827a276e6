package seal

import (
	"context"
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/gateway/store"
)

// Guard returns the store, but with the rule that everything under Prefix is
// sealed, so that no mistake puts a secret there in clear text.
func Guard(s store.Store) store.Store { return guarded{s} }

type guarded struct{ store.Store }

// Commit implements store.Store.
func (g guarded) Commit(ctx context.Context, ops ...store.Op) (int64, error) {
	for _, o := range ops {
		if o.Action != store.ActionPut || !strings.HasPrefix(o.Key, Prefix) {
			continue
		}
		if _, _, _, err := split(o.Value); err != nil {
			return 0, fmt.Errorf("%w value of %s: it must be sealed", store.ErrInvalid, o.Key)
		}
	}
	return g.Store.Commit(ctx, ops...)
}
