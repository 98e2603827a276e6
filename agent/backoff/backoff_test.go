package backoff

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errSome = errors.New("some failure")

func transient(error) Advice { return Advice{} }
func final(error) Advice     { return Advice{Final: true} }

// longest draws the largest wait, so that times are predictable.
func longest(n int64) int64 { return n - 1 }

func within(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if d := got - want; d < -time.Microsecond || d > time.Microsecond {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestCeiling(t *testing.T) {
	t.Parallel()
	s := Schedule{First: time.Second, Cap: 10 * time.Second}
	for n, want := range map[int]int64{1: 1, 2: 2, 3: 4, 4: 8, 5: 10, 6: 10, 1 << 40: 10} {
		t.Run(fmt.Sprintf("after failure %d it is %d s", n, want), func(t *testing.T) {
			t.Parallel()
			if got := s.ceiling(n); got != time.Duration(want)*time.Second {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestTransient(t *testing.T) {
	t.Parallel()
	t.Run("waits double up to the cap and the deadline ends them", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var at []time.Duration
			begin := time.Now()
			p := DefaultPolicy()
			p.Random = longest
			err := p.Do(ctx, func(context.Context) error {
				at = append(at, time.Since(begin))
				return errSome
			}, transient)
			if !errors.Is(err, errSome) {
				t.Errorf("error is %v, want the last failure", err)
			}
			within(t, "the end", time.Since(begin), 30*time.Second)
			// 0.25, 0.5, 1, 2, 4, 8, 10 between the tries; then what is left.
			want := []int64{0, 250, 750, 1750, 3750, 7750, 15750, 25750, 29750}
			if len(at) != len(want) {
				t.Fatalf("tries at %v", at)
			}
			for i, got := range at {
				within(t, fmt.Sprintf("try %d", i+1), got, time.Duration(want[i])*time.Millisecond)
			}
		})
	})
	t.Run("jitter is full: waits are drawn from zero to the ceiling", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := DefaultPolicy()
			low, high := false, false
			for range 400 {
				w, more := p.wait(t.Context(), time.Second, 0)
				if !more || w < 0 || w >= time.Second {
					t.Fatalf("a wait of %v is outside [0, 1s)", w)
				}
				low = low || w < 100*time.Millisecond
				high = high || w > 900*time.Millisecond
			}
			if !low || !high {
				t.Errorf("400 draws did not cover the range: low %v, high %v", low, high)
			}
		})
	})
	t.Run("the tries before the deadline are few", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				tries := 0
				_ = DefaultPolicy().Do(ctx, func(context.Context) error { tries++; return errSome }, transient)
				cancel()
				if tries < 6 || tries > 60 {
					t.Errorf("%d tries in a minute", tries)
				}
			}
		})
	})
	t.Run("success ends the tries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			reported := 0
			p := DefaultPolicy()
			p.Report = func(try int, _ time.Duration, err error) {
				reported++
				if try != tries || !errors.Is(err, errSome) {
					t.Errorf("report of try %d with %v after %d tries", try, err, tries)
				}
			}
			err := p.Do(t.Context(), func(context.Context) error {
				if tries++; tries < 4 {
					return errSome
				}
				return nil
			}, transient)
			if err != nil || tries != 4 || reported != 3 {
				t.Errorf("error %v after %d tries, %d reported", err, tries, reported)
			}
		})
	})
}

func TestServerNamedWait(t *testing.T) {
	t.Parallel()
	t.Run("it is the least wait and jitter comes on top", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			var at []time.Duration
			err := DefaultPolicy().Do(t.Context(), func(context.Context) error {
				at = append(at, time.Since(begin))
				if len(at) == 2 {
					return nil
				}
				return errSome
			}, func(error) Advice { return Advice{Wait: 2 * time.Second} })
			if err != nil || len(at) != 2 || at[1] < 2*time.Second || at[1] >= 2250*time.Millisecond {
				t.Errorf("error %v, tries at %v", err, at)
			}
		})
	})
	t.Run("one beyond the deadline is waited for until the deadline, without another try", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			begin, tries := time.Now(), 0
			err := DefaultPolicy().Do(ctx, func(context.Context) error { tries++; return errSome },
				func(error) Advice { return Advice{Wait: time.Hour} })
			if !errors.Is(err, errSome) || tries != 1 {
				t.Errorf("error %v after %d tries", err, tries)
			}
			within(t, "the end", time.Since(begin), 10*time.Second)
		})
	})
}

func TestFinal(t *testing.T) {
	t.Parallel()
	t.Run("it is tried three times within ten seconds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begin, tries := time.Now(), 0
			p := DefaultPolicy()
			p.Random = longest
			err := p.Do(t.Context(), func(context.Context) error { tries++; return errSome }, final)
			if !errors.Is(err, errSome) || tries != 3 {
				t.Errorf("error %v after %d tries", err, tries)
			}
			within(t, "the end", time.Since(begin), 9*time.Second)
		})
	})
	t.Run("slow answers don't stretch the time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begin, tries := time.Now(), 0
			p := DefaultPolicy()
			p.Random = longest
			_ = p.Do(t.Context(), func(context.Context) error {
				tries++
				<-time.After(9 * time.Second) // a slow answer, on the bubble's clock
				return errSome
			}, final)
			if took := time.Since(begin); tries != 2 || took > 21*time.Second {
				t.Errorf("%d tries in %v", tries, took)
			}
		})
	})
	t.Run("a failure that heals meanwhile is forgotten", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := DefaultPolicy().Do(t.Context(), func(context.Context) error {
				if tries++; tries < 3 {
					return errSome
				}
				return nil
			}, final)
			if err != nil || tries != 3 {
				t.Errorf("error %v after %d tries", err, tries)
			}
		})
	})
}

func TestEndOfContext(t *testing.T) {
	t.Parallel()
	t.Run("a try cut off by the deadline does not hide the failure before it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			tries := 0
			err := DefaultPolicy().Do(ctx, func(ctx context.Context) error {
				if tries++; tries == 1 {
					return errSome
				}
				<-ctx.Done()
				return fmt.Errorf("cut off: %w", ctx.Err())
			}, transient)
			if !errors.Is(err, errSome) || tries != 2 {
				t.Errorf("error %v after %d tries", err, tries)
			}
		})
	})
	t.Run("a first try cut off by the deadline is the cause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := DefaultPolicy().Do(ctx, func(ctx context.Context) error {
				<-ctx.Done()
				return fmt.Errorf("no answer: %w", ctx.Err())
			}, transient)
			if err == nil || err.Error() != "no answer: context deadline exceeded" {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("a cause other than the deadline ends a wait at once and is returned", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			errStop := errors.New("told to stop")
			ctx, cancel := context.WithCancelCause(t.Context())
			begin := time.Now()
			time.AfterFunc(100*time.Millisecond, func() { cancel(errStop) })
			p := DefaultPolicy()
			p.Random = longest
			err := p.Do(ctx, func(context.Context) error { return errSome }, transient)
			if !errors.Is(err, errStop) {
				t.Errorf("error %v", err)
			}
			within(t, "the end", time.Since(begin), 100*time.Millisecond)
		})
	})
	t.Run("nothing is tried when it is over before the start", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := DefaultPolicy().Do(ctx, func(context.Context) error { t.Error("tried"); return nil }, transient)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}
