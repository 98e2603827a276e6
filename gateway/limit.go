package gateway

import (
	"context"
	"sync/atomic"
	"time"
)

// limiter bounds how many logins ask the API server at a time. A login beyond
// that waits for its turn; one that would wait too long, or behind too many, is
// sent away so that it comes back later, instead of everybody timing out.
type limiter struct {
	slots      chan struct{}
	waiting    atomic.Int64
	maxWaiting int64
	patience   time.Duration
}

// acquire waits for a turn. After true, release must be called.
func (l *limiter) acquire(ctx context.Context) bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > l.maxWaiting {
		return false
	}
	timer := time.NewTimer(l.patience)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (l *limiter) release() { <-l.slots }
