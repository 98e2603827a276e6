package gateway

import (
	"context"
	"sync/atomic"
	"time"
)

// Bounds of the commands under way that work on the catalog. A store that hangs
// holds commands for up to commandTimeout; with these it can't hold more connections
// than others can do without. Reads and changes have bounds of their own, because
// most reads are answered from memory while no change can be. What never waits for
// anything, validating a session first of all, has none: all connections together
// ask for some 20 ms of processor time.
const (
	defaultMaxReads   = 256
	defaultMaxChanges = 64
	// maxQueue and commandPatience bound how many more wait for a turn, and for how
	// long: a queue that moves is through sooner, and one that does not is no use.
	maxQueue        = 64
	commandPatience = time.Second
)

// gate lets so many through at a time. Those who find room, which are nearly all,
// pay for an atomic operation or two, unlike at a limiter, whose channel has a lock.
type gate struct {
	room     int64
	patience time.Duration
	inside   atomic.Int64
	waiting  atomic.Int64
	freed    chan struct{} // wakes one who waits
}

func newGate(room int64, patience time.Duration) *gate {
	return &gate{room: room, patience: patience, freed: make(chan struct{}, maxQueue)}
}

// enter waits for room. After nil, leave must be called. The error is errOverloaded
// or the context's.
func (g *gate) enter(ctx context.Context) error {
	if g.try() {
		return nil
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > maxQueue {
		return errOverloaded
	}
	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	for {
		// Who leaves looks at waiting after it made room, so that either this finds the
		// room, or a word of it comes.
		if g.try() {
			return nil
		}
		select {
		case <-g.freed:
		case <-timer.C:
			return errOverloaded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gate) try() bool {
	for {
		n := g.inside.Load()
		if n >= g.room {
			return false
		}
		if g.inside.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *gate) leave() {
	g.inside.Add(-1)
	if g.waiting.Load() == 0 {
		return
	}
	select {
	case g.freed <- struct{}{}:
	default: // as many words wait as there can be who do
	}
}
