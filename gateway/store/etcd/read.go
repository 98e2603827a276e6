package etcd

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gatepass/gatepass/gateway/store"
)

// A snapshot is read in pages. etcd walks over all that is behind a page to count
// it, so few large pages are fast: while they turn out small in bytes, they get
// longer.
const (
	minSnapshotPage = 256
	maxSnapshotPage = 2048
	smallPage       = 1 << 20
)

func (s *Store) item(kv *mvccpb.KeyValue) store.Item {
	return store.Item{Key: strings.TrimPrefix(string(kv.Key), s.prefix), Value: kv.Value, Revision: kv.ModRevision}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Item, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Item{}, err
	}
	res, err := s.request(ctx, s.prefix+key)
	if err != nil {
		return store.Item{}, fmt.Errorf("read %s: %w", key, err)
	}
	if len(res.Kvs) == 0 {
		return store.Item{}, fmt.Errorf("%s: %w", key, store.ErrNotFound)
	}
	return s.item(res.Kvs[0]), nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	if err := q.Check(); err != nil {
		return store.Page{}, err
	}
	items, more, _, err := s.page(ctx, q, 0)
	if err != nil {
		return store.Page{}, fmt.Errorf("list %q: %w", q.Prefix, err)
	}
	page := store.Page{Items: items}
	if more {
		page.Next = items[len(items)-1].Key
	}
	return page, nil
}

// Snapshot implements store.Store. It reads pages of one revision.
func (s *Store) Snapshot(ctx context.Context, prefix string, visit func(store.Item) error) (int64, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return 0, err
	}
	q := store.Query{Prefix: prefix, Limit: minSnapshotPage}
	for revision := int64(0); ; {
		items, more, now, err := s.page(ctx, q, revision)
		if err != nil {
			return 0, fmt.Errorf("read everything under %q: %w", prefix, err)
		}
		if revision == 0 {
			revision = now
		}
		size := 0
		for _, item := range items {
			size += len(item.Value)
			if err := visit(item); err != nil {
				return 0, err
			}
		}
		if !more {
			return revision, nil
		}
		if q.Limit = minSnapshotPage; size < smallPage {
			q.Limit = min(2*len(items), maxSnapshotPage)
		}
		q.After = items[len(items)-1].Key
	}
}

// page reads a page as of a revision, or, with 0, as of now. It returns the
// present revision.
func (s *Store) page(ctx context.Context, q store.Query, revision int64) (items []store.Item, more bool, now int64, err error) {
	from, end := s.prefix+q.Prefix, clientv3.GetPrefixRangeEnd(s.prefix+q.Prefix)
	if q.After >= q.Prefix && q.After != "" {
		from = s.prefix + q.After + "\x00"
	}
	if from >= end {
		return nil, false, 0, ctx.Err()
	}
	res, err := s.request(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(int64(q.Limit)), clientv3.WithRev(revision))
	if err != nil {
		return nil, false, 0, err
	}
	for _, kv := range res.Kvs {
		items = append(items, s.item(kv))
	}
	return items, res.More, res.Header.Revision, nil
}

func (s *Store) request(ctx context.Context, key string, o ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	res, err := s.client.Get(limited, key, o...)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	return res, nil
}
