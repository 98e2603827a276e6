package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

const (
	// pollInterval is how often the file is read. Reading one small file costs
	// microseconds, and unlike a watch it can't miss a swap of the folder, which
	// is how the kubelet changes a mounted ConfigMap.
	pollInterval = time.Second
	// retryInterval is how often a configuration that could not be taken into
	// use is tried again, because the cause may lie outside the file: an API
	// server that is not up yet.
	retryInterval = 5 * time.Second
)

// WatchOptions configure Watch.
type WatchOptions struct {
	// File is read every second.
	File string
	// Apply takes a configuration into use, completely or not at all.
	Apply func(context.Context, *Config) error
	// Reloaded is told the outcome of every attempt.
	Reloaded func(error)
	Logger   *slog.Logger
}

// Watch takes the file's configuration into use, and every later change of it,
// until ctx is done. A file that is broken changes nothing: the last good
// configuration stays. It returns nil.
func Watch(ctx context.Context, o WatchOptions) error {
	w := watcher{WatchOptions: o}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		w.poll(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

type watcher struct {
	WatchOptions
	tried   []byte // what was last tried, nil before the first try
	failure error  // what came of it
	since   time.Time
	good    bool // whether any configuration is in use
}

// poll tries the file if it changed, or if the last try failed a while ago.
func (w *watcher) poll(ctx context.Context, now time.Time) {
	data, err := readFile(w.File)
	if err == nil && w.tried != nil && bytes.Equal(data, w.tried) && w.failure == nil {
		return
	}
	unchanged := bytes.Equal(data, w.tried)
	if w.failure != nil && unchanged && now.Sub(w.since) < retryInterval {
		return
	}
	if err == nil {
		err = w.use(ctx, data)
	}
	if ctx.Err() != nil {
		return
	}
	w.tell(err, unchanged)
	w.tried, w.failure, w.since = data, err, now
}

func (w *watcher) use(ctx context.Context, data []byte) error {
	cfg, err := Parse(data)
	if err != nil {
		return err
	}
	return w.Apply(ctx, cfg)
}

func (w *watcher) tell(err error, unchanged bool) {
	w.Reloaded(err)
	switch {
	case err == nil:
		w.good = true
		w.Logger.Info("configuration taken into use", "file", w.File)
	case unchanged && w.failure != nil && err.Error() == w.failure.Error():
		w.Logger.Debug("configuration still can't be used", "file", w.File, "error", err)
	case w.good:
		w.Logger.Error("configuration can't be used; the last good one stays in use", "file", w.File, "error", err)
	default:
		w.Logger.Error("configuration can't be used; no login is possible", "file", w.File, "error", err)
	}
}

// readFile reads a file of bounded size.
func readFile(name string) (data []byte, err error) {
	f, err := os.Open(name) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return data, nil
}
