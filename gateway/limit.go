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

// limits bound how many logins are under way: those of each auth config, so
// that one API server which hangs keeps only its own callers waiting, and all
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
	if l.total.Add(1) > l.maxTotal {
		l.total.Add(-1)
		return errOverloaded
	}
	if err := l.of(name).acquire(ctx); err != nil {
		l.total.Add(-1)
		return err
	}
	return nil
}

func (l *limits) release(name string) {
	l.of(name).release()
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
