// Package bodies reads request bodies within a budget of memory. Whoever may connect can
// send a header and then be silent, or send a body byte by byte; what they hold meanwhile is
// what they have sent, and not what they announced, and it is theirs only as long as nobody
// else needs it.
package bodies

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/internal/connlimit"
)

var (
	// ErrTooLarge says that a body is beyond the limit of its request.
	ErrTooLarge = errors.New("the body is too large")
	// ErrBusy says that there is no memory for a body, or none any more: it came slower
	// than others that needed it.
	ErrBusy = errors.New("the server is busy with other requests")
)

// Options are the bounds of a Budget.
type Options struct {
	// Free is what every connection may send at a time without a share of the budget, in
	// bytes.
	Free int
	// Total bounds what is beyond that, of all bodies together, in bytes. A body that
	// grows is there twice while it is copied.
	Total int64
	// Grace is for how long a body may arrive while others need its memory. A body of a
	// client that holds more than theirs has no grace.
	Grace time.Duration
}

// Budget is memory for bodies.
type Budget struct {
	options Options
	pool    sync.Pool
	cut     atomic.Int64

	mu    sync.Mutex
	taken int64
	held  map[*Body]struct{} // with a share
	freed chan struct{}      // closed when a share is given back
}

// New makes a budget.
func New(o Options) *Budget {
	b := &Budget{options: o, held: map[*Body]struct{}{}, freed: make(chan struct{})}
	b.pool.New = func() any { return &buffer{make([]byte, 0, o.Free)} }
	return b
}

type buffer struct{ data []byte }

// CutOff is how many bodies lost their memory to others.
func (b *Budget) CutOff() int64 { return b.cut.Load() }

// Taken is how many bytes of the budget are in use.
func (b *Budget) Taken() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken
}

// Body is a request's. It and its share of the budget are in use until Free.
type Body struct {
	budget *Budget
	client netip.Prefix
	began  time.Time
	pooled *buffer
	data   []byte

	// The rest is guarded by the budget's lock.
	share   int64
	reading bool
	stopped bool
	stop    func()
}

// Bytes are what was read.
func (b *Body) Bytes() []byte { return b.data }

// Forget overwrites the bytes and gives their memory back. The share of the budget is the
// body's until Free: it is for what was made of them.
func (b *Body) Forget() { b.discard() }

// borrow takes a buffer that is used again and again.
func (b *Body) borrow() {
	pooled, ok := b.budget.pool.Get().(*buffer)
	if !ok {
		pooled = &buffer{make([]byte, 0, b.budget.options.Free)}
	}
	b.pooled, b.data = pooled, pooled.data[:0]
}

// Read reads a request's body, of limit bytes at most. The Body is there with an error,
// too. Errors are ErrTooLarge, ErrBusy, and the connection's.
func (b *Budget) Read(w http.ResponseWriter, r *http.Request, limit int64) (*Body, error) {
	body := &Body{
		budget: b, client: connlimit.Network(connlimit.Address(r.RemoteAddr)), began: time.Now(), reading: true,
		// A read that waits ends at once. Not every connection has deadlines (a test's
		// recorder has none).
		stop: func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) },
	}
	if r.ContentLength > limit {
		return body, ErrTooLarge
	}
	if size := r.ContentLength; size >= 0 && size < int64(b.options.Free)/4 {
		body.data = make([]byte, 0, size+1)
	} else {
		body.borrow()
	}
	err := body.read(r.Body, r.ContentLength, limit)
	b.mu.Lock()
	defer b.mu.Unlock()
	body.reading = false
	if body.stopped && err != nil {
		err = ErrBusy
	}
	return body, err
}

// read reads to the body's end. The size is what is announced, -1 if nothing is.
func (b *Body) read(r io.Reader, size, limit int64) error {
	for {
		if len(b.data) == cap(b.data) {
			if err := b.grow(size, limit); err != nil {
				return err
			}
		}
		// One byte more than may come tells that it does.
		n, err := r.Read(b.data[len(b.data):min(int64(cap(b.data)), limit+1)])
		b.data = b.data[:len(b.data)+n]
		switch {
		case int64(len(b.data)) > limit:
			return ErrTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err //nolint:wrapcheck // the caller tells the connection's errors apart
		}
	}
}

// grow doubles the buffer. It need not be larger than the body by more than the byte that
// has room for what should not come, and for the end to be found without growing.
func (b *Body) grow(size, limit int64) error {
	most := limit
	if size >= 0 {
		most = min(size, limit)
	}
	next := 2 * int64(cap(b.data))
	if next >= most && int64(cap(b.data)) <= most {
		next = most + 1
	}
	if err := b.budget.take(b, next); err != nil {
		return err
	}
	grown := append(make([]byte, 0, next), b.data...)
	before := int64(cap(b.data))
	b.discard()
	b.data = grown
	if before > int64(b.budget.options.Free) {
		b.budget.give(b, before)
	}
	return nil
}

// discard forgets the buffer, which may hold a secret.
func (b *Body) discard() {
	clear(b.data)
	if b.pooled != nil {
		b.budget.pool.Put(b.pooled)
	}
	b.pooled, b.data = nil, nil
}

// Free gives back what the body holds. Its bytes are overwritten.
func (b *Body) Free() {
	b.discard()
	b.budget.give(b, -1)
}

// take takes a part of the budget for a body. It waits for bodies that are stopped for it,
// and for nothing else: who waits takes memory, too.
func (b *Budget) take(body *Body, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var patience *time.Timer
	defer func() {
		if patience != nil {
			patience.Stop()
		}
	}()
	for b.taken+n > b.options.Total {
		if body.stopped || n > b.options.Total || !b.makeRoom(body) {
			return ErrBusy
		}
		if patience == nil {
			patience = time.NewTimer(b.options.Grace)
		}
		freed := b.freed
		b.mu.Unlock()
		expired := false
		select {
		case <-freed:
		case <-patience.C:
			expired = true
		}
		b.mu.Lock()
		if expired {
			return ErrBusy
		}
	}
	b.taken += n
	body.share += n
	b.held[body] = struct{}{}
	return nil
}

// give gives n bytes of a body's share back, all of it if n is negative.
func (b *Budget) give(body *Body, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n < 0 {
		n = body.share
	}
	if body.share -= n; body.share == 0 {
		delete(b.held, body)
	}
	if b.taken -= n; n > 0 {
		close(b.freed)
		b.freed = make(chan struct{})
	}
}

// makeRoom stops a body that is still arriving: of the client that holds most, the one
// that has been arriving for longest. It reports whether one is stopped, now or before,
// and has not given its memory back yet. b.mu is held.
func (b *Budget) makeRoom(needing *Body) bool {
	holds := map[netip.Prefix]int64{}
	for body := range b.held {
		if body.reading && body.stopped {
			return true
		}
		holds[body.client] += body.share
	}
	var victim *Body
	for body := range b.held {
		if body == needing || !body.reading {
			continue
		}
		greedy := holds[body.client] > holds[needing.client]
		if !greedy && time.Since(body.began) < b.options.Grace {
			continue
		}
		if victim == nil || holds[body.client] > holds[victim.client] ||
			holds[body.client] == holds[victim.client] && body.began.Before(victim.began) {
			victim = body
		}
	}
	if victim == nil {
		return false
	}
	victim.stopped = true
	b.cut.Add(1)
	victim.stop()
	return true
}
