package certs

import (
	"context"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// quietHandler lowers what cert-manager's library tells about its inner life:
// we say ourselves what an administrator needs to know. Its errors stay errors,
// but for a conflict, which only means that another replica was faster.
type quietHandler struct{ slog.Handler }

// Handle lowers a record's level and passes it on.
func (h quietHandler) Handle(ctx context.Context, record slog.Record) error {
	if record.Level < slog.LevelWarn || isLostRace(record) {
		record.Level = slog.LevelDebug
	}
	if !h.Enabled(ctx, record.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{h.Handler.WithGroup(name)}
}

func isLostRace(record slog.Record) (lost bool) {
	record.Attrs(func(attr slog.Attr) bool {
		err, ok := attr.Value.Any().(error)
		lost = ok && apierrors.IsConflict(err)
		return !lost
	})
	return lost
}
