package serverlog_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/internal/serverlog"
)

func TestServerLogLevels(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"http: TLS handshake error from 192.0.2.1:1: EOF":                        "level=DEBUG",
		"http: Accept error: accept tcp: too many open files; retrying in 5ms\n": "level=WARN",
	} {
		var lines bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
		serverlog.New(logger).Print(line)
		if !strings.Contains(lines.String(), want) {
			t.Errorf("%q is logged as %q", line, lines.String())
		}
	}
}
