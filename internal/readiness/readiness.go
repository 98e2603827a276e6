// Package readiness logs why a server is not ready.
//
// A kubelet's event says only that its probe got a 503. It leaves out the answer's
// body, in which the reason is.
package readiness

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// repeatAfter is how long a server that stays not ready logs nothing more.
const repeatAfter = time.Minute

// waiting is an error that ends by itself.
type waiting interface {
	error
	Remaining(now time.Time) time.Duration
}

// Log logs changes of a server's readiness.
type Log struct {
	logger *slog.Logger

	mu     sync.Mutex
	ready  bool // at any time since the start
	reason string
	logged time.Time
}

// NewLog returns a log that has been told nothing yet.
func NewLog(logger *slog.Logger) *Log { return &Log{logger: logger} }

// Check takes the result of a readiness check. It logs when that differs from the
// one before, and repeats a reason each minute: as a warning, unless the server is
// still starting.
func (l *Log) Check(err error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		if !l.ready || l.reason != "" {
			l.logger.Info("ready")
		}
		l.ready, l.reason = true, ""
		return
	}
	if err.Error() == l.reason && now.Sub(l.logged) < repeatAfter {
		return
	}
	l.reason, l.logged = err.Error(), now
	level := slog.LevelInfo
	if l.ready {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("reason", l.reason)}
	var w waiting
	if errors.As(err, &w) {
		attrs = append(attrs, slog.String("remaining", w.Remaining(now).Round(time.Second).String()))
	}
	l.logger.LogAttrs(context.Background(), level, "not ready", attrs...)
}

// Text returns a reason for the body of a probe's answer.
func Text(err error) string {
	var w waiting
	if errors.As(err, &w) {
		return err.Error() + ", " + w.Remaining(time.Now()).Round(time.Second).String() + " from now"
	}
	return err.Error()
}
