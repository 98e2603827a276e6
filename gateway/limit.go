package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// errOverloaded sends a login away so that it comes back later, instead of
// everybody timing out.
var errOverloaded = errors.New("too many logins at a time")

// share is how many times as many logins of one auth config may be under way as
// there is room for more. However many API servers hang, the others' logins find
// room: of 448, a hanging one holds 256, two hold 179 each, five hold 81 each.
const share = 2

// limits bound how many logins are under way: those of each auth config, so
// that API servers which hang keep only their own callers waiting, and all
// of them together, which is what memory has room for.
type limits struct {
	each       int
	maxWaiting int64
	maxTotal   int64
	patience   time.Duration

	total    atomic.Int64
	mu       sync.Mutex
	limiters map[string]*limiter // by the auth config's name
}

// acquire waits for a turn with the auth config of that name, which must exist:
// a limiter stays. After nil, release must be called.
func (l *limits) acquire(ctx context.Context, name string) error {
	one := l.of(name)
	total, own := l.total.Add(1), one.underWay.Add(1)
	err := errOverloaded
	if own <= share*(l.maxTotal-total+1) {
		err = one.acquire(ctx)
	}
	if err != nil {
		l.end(one)
	}
	return err
}

func (l *limits) release(name string) {
	one := l.of(name)
	one.release()
	l.end(one)
}

func (l *limits) end(one *limiter) {
	one.underWay.Add(-1)
	l.total.Add(-1)
}

// waiting is how many logins wait for their turn, with all auth configs.
func (l *limits) waiting() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for _, one := range l.limiters {
		n += min(one.waiting.Load(), one.maxWaiting) // more are about to be sent away
	}
	return n
}

func (l *limits) of(name string) *limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, ok := l.limiters[name]
	if !ok {
		found = &limiter{slots: make(chan struct{}, l.each), maxWaiting: l.maxWaiting, patience: l.patience}
		l.limiters[name] = found
	}
	return found
}

// limiter bounds how many logins ask one API server at a time. A login beyond
// that waits for its turn; one that would wait too long, or behind too many, is
// sent away.
type limiter struct {
	slots      chan struct{}
	underWay   atomic.Int64 // for limits
	waiting    atomic.Int64
	maxWaiting int64
	patience   time.Duration
}

// acquire waits for a turn. After nil, release must be called. The error is
// errOverloaded or the context's.
func (l *limiter) acquire(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > l.maxWaiting {
		return errOverloaded
	}
	timer := time.NewTimer(l.patience)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return errOverloaded
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *limiter) release() { <-l.slots }
