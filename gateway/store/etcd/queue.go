package etcd

import (
	"sync"

	"github.com/gatepass/gatepass/gateway/store"
)

// maxQueued is how many bytes of changes wait for one watcher. etcd's client
// would keep any number.
const maxQueued = 8 << 20

// queue is what a watcher has yet to take. It is safe for concurrent use.
type queue struct {
	mu     sync.Mutex
	events []store.Event
	size   int
	err    error
	more   chan struct{} // has an entry when something is new
}

func newQueue() *queue { return &queue{more: make(chan struct{}, 1)} }

// add appends an event; false means that the watcher is too slow.
func (q *queue) add(e store.Event) bool {
	const overhead = 64
	size := overhead
	for _, c := range e.Changes {
		size += overhead + len(c.Key) + len(c.Value)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) > 0 && q.size+size > maxQueued {
		return false
	}
	q.events = append(q.events, e)
	q.size += size
	q.signal()
	return true
}

// end gives the error that the watch ends with, after what is queued.
func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (q *queue) take() ([]store.Event, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events, q.size = nil, 0
	return events, q.err
}
