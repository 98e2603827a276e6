// Package serverlog writes what net/http's servers report to a structured log.
package serverlog

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// New is for http.Server.ErrorLog.
func New(to *slog.Logger) *log.Logger { return log.New(writer{to}, "", 0) }

type writer struct{ log *slog.Logger }

// Write implements io.Writer. Port scanners and probes cause most failed
// handshakes; anything else, running out of files first of all, is for the
// administrator.
func (w writer) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, "HTTP server", "error", string(bytes.TrimSpace(line)))
	return len(line), nil
}
