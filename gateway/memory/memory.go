// Package memory gives back what a process does not use while it rests.
//
// A start reads the whole database and runs much code once, and a burst of requests
// leaves garbage behind. All of that stays the process's until the runtime
// collects it, minutes later, or until the machine runs out of memory; what the
// process is seen to take in the meantime is several times what it needs.
package memory

import (
	"context"
	"log/slog"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// interval is how often the process's allocations are looked at.
	interval = 2 * time.Second
	// quiet is how many bytes are allocated in an interval at most while the process
	// rests: some requests a second.
	quiet = 1 << 20
	// worthwhile is how many bytes were allocated since the last time when it is
	// worth the effort again, which is that of a collection.
	worthwhile = 16 << 20
)

// Run gives memory back whenever the process comes to rest, until ctx is done. It
// returns nil.
func Run(ctx context.Context, log *slog.Logger) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var p pace
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if !p.rests(allocated()) {
			continue
		}
		debug.FreeOSMemory()
		if err := unmap(); err != nil {
			log.Debug("memory of files was not given back", "error", err)
		}
	}
}

// allocated is how many bytes the process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// pace knows how busy the process is, by what was ever allocated: now, and when
// memory was given back.
type pace struct{ last, released uint64 }

// rests is told once an interval how much was ever allocated, and says whether the
// process has come to rest after it started or was busy.
func (p *pace) rests(allocated uint64) bool {
	calm := allocated-p.last <= quiet
	p.last = allocated
	if !calm || p.released > 0 && allocated-p.released < worthwhile {
		return false
	}
	p.released = allocated
	return true
}
