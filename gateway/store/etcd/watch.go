package etcd

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/gatepass/gatepass/gateway/store"
)

// Bounds of the pause before an interrupted watch is taken up again. What a lost
// connection interrupts, etcd's client takes up by itself, and at once.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// errSlow means that the watcher does not take what there is.
var errSlow = errors.New("the watcher is too slow")

// errOther means that etcd is not the one, or not of the time, that was watched.
var errOther = errors.New("etcd was put back to an earlier state, or is another one")

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		if err := store.CheckWatch(prefix, after); err != nil {
			yield(store.Event{}, err)
			return
		}
		q := newQueue()
		inner, cancel := context.WithCancel(ctx)
		var feeder sync.WaitGroup
		defer feeder.Wait()
		defer cancel()
		feeder.Go(func() { q.end(s.feed(inner, prefix, after, q)) })
		for {
			events, err := q.take()
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(store.Event{}, err)
				return
			}
			<-q.more
		}
	}
}

// feed fills a queue until ctx ends, the store is closed, or the watcher has to
// read anew. It returns why.
func (s *Store) feed(ctx context.Context, prefix string, after int64, q *queue) error {
	pause := minPause
	seen := &lineage{seen: after}
	for {
		reached, err := s.stream(ctx, prefix, after, q, seen)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.client.Ctx().Err() != nil:
			return errClosed()
		case errors.Is(err, store.ErrCompacted), errors.Is(err, errSlow):
			return store.ErrCompacted
		case errors.Is(err, errOther):
			s.logger.Error("etcd was put back to an earlier state, or is another one; everything is read anew", "prefix", prefix)
			return store.ErrCompacted
		}
		if reached > after {
			after, pause = reached, minPause
		}
		s.logger.Warn("a watch of etcd was interrupted and will be taken up again", "prefix", prefix, "revision", after, "error", err)
		timer := time.NewTimer(pause/2 + rand.N(pause/2)) //nolint:gosec // jitter
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		case <-s.client.Ctx().Done():
			timer.Stop()
		}
		pause = min(2*pause, maxPause)
	}
}

// stream fills a queue from one watch of etcd's client, which survives the loss of
// connections. It returns the revision up to which the watcher has everything.
func (s *Store) stream(ctx context.Context, prefix string, after int64, q *queue, seen *lineage) (reached int64, err error) {
	streaming, cancel := context.WithCancelCause(ctx)
	var checker sync.WaitGroup
	defer checker.Wait()
	defer cancel(nil)
	checker.Go(func() {
		if s.departs(streaming, seen) {
			cancel(errOther)
		}
	})
	// The client puts watches with the same metadata on one stream, which keeps
	// the login that it began with for ever: a later watch on it would be refused
	// once that has expired. So each gets a stream, and a login, of its own.
	ctx = metadata.AppendToOutgoingContext(streaming, "gatepass-watch", strconv.FormatUint(rand.Uint64(), 16)) //nolint:gosec // no secret
	// A member that has lost its cluster ends the watch, which goes on elsewhere.
	ctx = clientv3.WithRequireLeader(ctx)
	responses := s.client.Watch(ctx, s.prefix+prefix,
		clientv3.WithPrefix(), clientv3.WithRev(after+1), clientv3.WithCreatedNotify(), clientv3.WithProgressNotify())
	for res := range responses {
		if err := res.Err(); err != nil {
			return after, s.failure(ctx, err)
		}
		if !seen.saw(res.Header) {
			return after, errOther
		}
		// It lags, or was put back: reading anew is right for both.
		if res.Header.Revision < after {
			return after, store.ErrCompacted
		}
		for _, e := range s.events(res.Events) {
			if !q.add(e) {
				return after, errSlow
			}
			after = e.Revision
		}
		if res.IsProgressNotify() {
			after = res.Header.Revision
		}
	}
	if errors.Is(context.Cause(streaming), errOther) {
		return after, errOther
	}
	return after, errors.New("etcd ended it")
}

// events puts the changes of each transaction together. etcd sends a transaction's
// changes in one response.
func (s *Store) events(changes []*clientv3.Event) []store.Event {
	var events []store.Event
	for _, c := range changes {
		if len(events) == 0 || events[len(events)-1].Revision != c.Kv.ModRevision {
			events = append(events, store.Event{Revision: c.Kv.ModRevision})
		}
		e := &events[len(events)-1]
		e.Changes = append(e.Changes, store.Change{
			Key:     strings.TrimPrefix(string(c.Kv.Key), s.prefix),
			Value:   c.Kv.Value,
			Deleted: c.Type == mvccpb.Event_DELETE,
		})
	}
	for _, e := range events {
		slices.SortFunc(e.Changes, func(a, b store.Change) int { return strings.Compare(a.Key, b.Key) })
	}
	return events
}
