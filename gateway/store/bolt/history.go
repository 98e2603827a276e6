package bolt

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/gateway/store"
)

// Bounds of what is kept for those who watch. Whoever falls further behind reads
// everything anew, which is faster then.
const (
	maxEvents      = 8192
	maxEventsBytes = 8 << 20
)

// history is what was committed last. It is safe for concurrent use.
type history struct {
	mu     sync.Mutex
	events []store.Event
	size   int // bytes of keys and values
	// before is the revision after which all events are kept.
	before int64
	latest int64
	more   chan struct{} // closed when there are new events
}

func newHistory(revision int64) *history {
	return &history{before: revision, latest: revision, more: make(chan struct{})}
}

// add appends events, and forgets the oldest ones if there are too many.
func (h *history) add(events []store.Event) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		h.events = append(h.events, e)
		h.size += size(e)
		h.latest = e.Revision
	}
	if len(h.events) > maxEvents || h.size > maxEventsBytes {
		h.forget()
	}
	close(h.more)
	h.more = make(chan struct{})
}

// reset forgets everything if the database has got another revision than the events
// say.
func (h *history) reset(revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if revision == h.latest {
		return
	}
	h.events, h.size = nil, 0
	h.before, h.latest = revision, revision
	close(h.more)
	h.more = make(chan struct{})
}

// forget drops the oldest quarter, so that it is not called at every commit.
func (h *history) forget() {
	forgotten := 0
	for len(h.events)-forgotten > maxEvents*3/4 || h.size > maxEventsBytes*3/4 {
		h.size -= size(h.events[forgotten])
		h.before = h.events[forgotten].Revision
		forgotten++
	}
	h.events = slices.Delete(h.events, 0, forgotten)
}

// size is about how much memory an event takes.
func size(e store.Event) int {
	const overhead = 64
	n := overhead
	for _, c := range e.Changes {
		n += overhead + len(c.Key) + len(c.Value)
	}
	return n
}

// maxTaken is how many events a watcher takes at once.
const maxTaken = 256

// after returns what follows a revision, and a channel that is closed when there
// is more.
func (h *history) after(revision int64) ([]store.Event, <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if revision < h.before || revision > h.latest {
		return nil, nil, store.ErrCompacted
	}
	first, found := slices.BinarySearchFunc(h.events, revision, func(e store.Event, r int64) int { return int(e.Revision - r) })
	if found {
		first++
	}
	events := h.events[first:min(first+maxTaken, len(h.events))]
	return slices.Clone(events), h.more, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		if err := store.CheckWatch(prefix, after); err != nil {
			yield(store.Event{}, err)
			return
		}
		for {
			if err := s.over(ctx); err != nil {
				yield(store.Event{}, err)
				return
			}
			events, more, err := s.history.after(after)
			if err != nil {
				yield(store.Event{}, err)
				return
			}
			for _, e := range events {
				after = e.Revision
				e.Changes = under(prefix, e.Changes)
				if len(e.Changes) > 0 && !yield(e, nil) {
					return
				}
			}
			if len(events) > 0 {
				continue // there may be more than was taken
			}
			select {
			case <-more:
			case <-ctx.Done():
			case <-s.closing:
			}
		}
	}
}

// over returns why a watcher has to end.
func (s *Store) over(ctx context.Context) error {
	select {
	case <-s.closing:
		return errClosed()
	default:
		return ctx.Err()
	}
}

// under returns the changes of keys with a prefix. It copies values: the history
// is everybody's.
func under(prefix string, changes []store.Change) []store.Change {
	var found []store.Change
	for _, c := range changes {
		if strings.HasPrefix(c.Key, prefix) {
			c.Value = bytes.Clone(c.Value)
			found = append(found, c)
		}
	}
	return found
}
