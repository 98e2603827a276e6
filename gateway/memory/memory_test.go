package memory

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	var p pace
	for _, step := range []struct {
		name      string
		allocated uint64
		want      bool
	}{
		{"a start is not a rest", 5 * mib, false},
		{"the first rest is after the start", 5*mib + 1000, true},
		{"nothing has happened since", 5*mib + 2000, false},
		{"a busy time", 105 * mib, false},
		{"and the rest after it", 106 * mib, true},
		{"a little work", 107 * mib, false},
		{"does not become worth it soon", 121 * mib, false},
		{"but at last", 122 * mib, true},
	} {
		if got := p.rests(step.allocated); got != step.want {
			t.Errorf("%s: %t", step.name, got)
		}
	}
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*interval+time.Second)
		defer cancel()
		if err := Run(ctx, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
}
