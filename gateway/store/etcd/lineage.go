package etcd

import (
	"context"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// checkInterval is how often etcd is asked whether it is the one that is watched. It
// bounds how long what was revoked elsewhere after a restore stays valid here.
const checkInterval = 2 * time.Second

// lineage is what an etcd can't take back: its cluster's id, and revisions. One that
// was restored from a backup has another id, one that got an older data folder
// counts on from there. etcd's client takes a watch up again by itself after either,
// waits for revisions that come later, and misses what happens until then.
type lineage struct {
	mu      sync.Mutex
	cluster uint64 // 0 until it is known
	seen    int64  // the latest revision
}

// saw takes note of an answer. It returns false if that is of another cluster.
func (l *lineage) saw(h *etcdserverpb.ResponseHeader) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cluster == 0 {
		l.cluster = h.ClusterId
	}
	l.seen = max(l.seen, h.Revision)
	return h.ClusterId == l.cluster
}

func (l *lineage) latest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// departs asks etcd until ctx ends, and then returns false, or until an answer is
// not from the one that was seen before. The answer to a linearizable read, unlike one
// of a watch at a member that lags, has at least the revision that anybody saw before
// the question.
func (s *Store) departs(ctx context.Context, l *lineage) bool {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		before := l.latest()
		res, err := s.request(ctx, s.prefix, clientv3.WithKeysOnly())
		if err != nil {
			continue // it is an outage, which the watch sees as well
		}
		if !l.saw(res.Header) || res.Header.Revision < before {
			return true
		}
	}
}
