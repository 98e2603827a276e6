// Package backoff repeats a piece of work until it succeeds, waiting longer
// after each failure.
//
// A wait is drawn evenly from zero to a ceiling that doubles ("full jitter"),
// which spreads the retries of many pods that failed at the same moment
// better than a fixed wait with a little noise does. Every wait is bounded by
// the context's deadline.
package backoff

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Advice says how a failed try should be followed up.
type Advice struct {
	// Final means that a further try is unlikely to help. It is retried
	// briefly all the same, because permissions and configuration take some
	// seconds to reach every server.
	Final bool
	// Wait is the least time to wait, when the server named one; 0 if not.
	Wait time.Duration
}

// Schedule is a doubling ceiling of waits.
type Schedule struct {
	// First is the ceiling of the first wait, Cap the largest one.
	First, Cap time.Duration
}

// ceiling returns the ceiling of the wait after the nth failure, n from 1.
func (s Schedule) ceiling(n int) time.Duration {
	c := s.First
	for ; n > 1 && c < s.Cap; n-- {
		c *= 2
	}
	return min(c, s.Cap)
}

// Draw returns the wait after the nth failure in a row, n from 1: evenly from
// zero to the ceiling. random draws from [0, n); nil means a good source.
func (s Schedule) Draw(n int, random func(int64) int64) time.Duration {
	if random == nil {
		random = rand.Int64N
	}
	return time.Duration(random(int64(max(s.ceiling(n), 1))))
}

// Policy bounds the retries.
type Policy struct {
	// Transient is the schedule after failures that time heals. They are
	// retried until the context's deadline.
	Transient Schedule
	// Final is the schedule after failures that look final.
	Final Schedule
	// FinalTries is how many such failures are taken, and FinalTime for how
	// long after the first of them a further try may begin.
	FinalTries int
	FinalTime  time.Duration
	// Random draws from [0, n); nil means a good source.
	Random func(n int64) int64
	// Report, if set, hears of each failure that is going to be retried,
	// with the number of the try, from 1.
	Report func(try int, wait time.Duration, err error)
}

// DefaultPolicy suits one login at a pod's start.
func DefaultPolicy() Policy {
	return Policy{
		Transient:  Schedule{First: 250 * time.Millisecond, Cap: 10 * time.Second},
		Final:      Schedule{First: 3 * time.Second, Cap: 6 * time.Second},
		FinalTries: 3,
		FinalTime:  10 * time.Second,
	}
}

// Do calls try until it succeeds, has failed finally, or ctx ends. The error
// is the last one that tells a cause: a try that was merely cut off by the
// end of ctx does not hide why the tries before it failed. When ctx ends
// before anything failed, the error is its cause.
//
// advise says how to go on after an error.
func (p Policy) Do(ctx context.Context, try func(context.Context) error, advise func(error) Advice) error {
	var (
		last       error
		firstFinal time.Time
		finals     int
	)
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return end(ctx, last)
		}
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			if last == nil || !errors.Is(err, context.Cause(ctx)) && !errors.Is(err, ctx.Err()) {
				last = err
			}
			return end(ctx, last)
		}
		last = err

		advice := advise(err)
		var ceiling time.Duration
		if advice.Final {
			finals++
			if finals == 1 {
				firstFinal = time.Now()
			}
			left := p.FinalTime - time.Since(firstFinal)
			if finals >= p.FinalTries || left <= 0 {
				return err
			}
			ceiling = min(p.Final.ceiling(finals), left)
		} else {
			ceiling = p.Transient.ceiling(n - finals)
		}
		wait, more := p.wait(ctx, ceiling, advice.Wait)
		if !more {
			// Leaving early would only have the caller's supervisor, such as
			// the kubelet, come back before the server wants it to.
			<-ctx.Done()
			return end(ctx, last)
		}
		if p.Report != nil {
			p.Report(n, wait, err)
		}
		if !Sleep(ctx, wait) {
			return end(ctx, last)
		}
	}
}

// wait draws the next wait. Where the server named one, the jitter comes on
// top, or else everybody who was told the same would return at once. It
// reports false when no further try fits in before the deadline.
func (p Policy) wait(ctx context.Context, ceiling, least time.Duration) (time.Duration, bool) {
	if deadline, ok := ctx.Deadline(); ok {
		// The try needs some time to run as well, and ever shorter waits
		// must not crowd into the last moment.
		left := time.Until(deadline) - least
		if left <= 2*p.Transient.First {
			return 0, false
		}
		ceiling = min(ceiling, left-p.Transient.First)
	}
	if ceiling <= 0 {
		return least, true
	}
	random := p.Random
	if random == nil {
		random = rand.Int64N
	}
	return least + time.Duration(random(int64(ceiling))), true
}

// Sleep waits for d; false if ctx ended before.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func end(ctx context.Context, last error) error {
	if cause := context.Cause(ctx); last == nil || !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return last
}
