package certs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// refreshInterval is how often repeat calls without being woken, for expired
// certificates and lost events.
const refreshInterval = time.Minute

// follow starts an informer that ends with ctx. The returned function waits until
// it has ended.
func follow(ctx context.Context, logger *slog.Logger, o cache.InformerOptions) (wait func()) {
	log := logr.FromSlogHandler(logger.Handler())
	o.Logger = &log
	_, informer := cache.NewInformerWithOptions(o)
	var running sync.WaitGroup
	// The reflector takes its logger from the context.
	running.Go(func() { informer.RunWithContext(logr.NewContext(ctx, log)) })
	return running.Wait
}

// repeat calls update when it is woken, after each refreshInterval, and with a
// growing delay after an error, until ctx is done.
func repeat(ctx context.Context, woken <-chan struct{}, update func(context.Context) error) {
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	backoff := newBackoff()
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-woken:
		case <-retry:
		}
		if err := update(ctx); err != nil {
			retry = time.After(backoff.Step())
			continue
		}
		retry, backoff = nil, newBackoff()
	}
}

// wake fills a channel with room for one, which says to look and not what
// there is to see.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func newBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 8, Cap: 10 * time.Second}
}
