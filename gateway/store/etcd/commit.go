package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gatepass/gatepass/gateway/store"
)

// Commit implements store.Store. It is one transaction, and sent once: the client
// repeats it only if it knows that it did not leave.
func (s *Store) Commit(ctx context.Context, ops ...store.Op) (int64, error) {
	if err := store.CheckOps(ops); err != nil {
		return 0, err
	}
	var conditions []clientv3.Cmp
	var changes []clientv3.Op
	for _, o := range ops {
		key := s.prefix + o.Key
		if o.Revision != store.Any {
			// That of a key that does not exist is 0, as Absent is.
			conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(key), "=", o.Revision))
		}
		switch o.Action {
		case store.ActionPut:
			changes = append(changes, clientv3.OpPut(key, string(o.Value)))
		case store.ActionDelete:
			changes = append(changes, clientv3.OpDelete(key))
		case store.ActionExpect:
		}
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	res, err := s.client.Txn(limited).If(conditions...).Then(changes...).Commit()
	if err != nil {
		return 0, fmt.Errorf("commit: %w", s.failure(ctx, err))
	}
	if !res.Succeeded {
		return 0, fmt.Errorf("commit: %w", store.ErrConflict)
	}
	return res.Header.Revision, nil
}
