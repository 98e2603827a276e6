package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/agent/session"
)

// meters count what a sidecar does. They are written by one goroutine and
// read by any.
type meters struct {
	refreshes, failures atomic.Int64
	revoked             atomic.Int64
	failing             atomic.Int64
	expiry, success     atomic.Int64 // Unix seconds; 0 if there is none
}

func (m *meters) accepted(now time.Time, s session.Session) {
	m.refreshes.Add(1)
	m.failing.Store(0)
	m.success.Store(now.Unix())
	m.expiry.Store(0)
	if !s.Expiry.IsZero() {
		m.expiry.Store(s.Expiry.Unix())
	}
}

func (m *meters) failed() {
	m.failures.Add(1)
	m.failing.Store(1)
}

// write writes the metrics in Prometheus' text format, which is simple enough
// that every pod is spared its client library.
func (m *meters) write(w io.Writer) {
	for _, s := range []struct {
		name, kind, help string
		value            int64
	}{
		{"gatepass_agent_refreshes_total", "counter", "Sessions written, the first one included.", m.refreshes.Load()},
		{"gatepass_agent_refresh_failures_total", "counter", "Tries to refresh the session that failed.", m.failures.Load()},
		{"gatepass_agent_refresh_failing", "gauge", "1 while the session can't be refreshed, otherwise 0.", m.failing.Load()},
		{"gatepass_agent_revoked_sessions_total", "counter", "Sessions that the server ended before their time.", m.revoked.Load()},
		{"gatepass_agent_session_expiry_timestamp_seconds", "gauge", "When the session ends, in Unix time; 0 if that is not known.", m.expiry.Load()},
		{"gatepass_agent_last_refresh_timestamp_seconds", "gauge", "When a session was last written, in Unix time; 0 before the first.", m.success.Load()},
	} {
		_, _ = fmt.Fprintf(w, "# HELP %[1]s %[3]s\n# TYPE %[1]s %[2]s\n%[1]s %[4]d\n", s.name, s.kind, s.help, s.value)
	}
}

// serveMetrics serves /metrics, if that is wanted, until the function that it
// returns is called. If it can't, the log says so: an application that starts is
// worth more than its agent's metrics.
func (a *Agent) serveMetrics(ctx context.Context) (stop func()) {
	stop = func() {}
	if a.config.MetricsAddress == "" {
		return stop
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.MetricsAddress)
	if err != nil {
		a.log.Error("metrics can't be served; is the address another program's of this pod?", keyCause, fmt.Sprintf("GATEPASS_METRICS_ADDRESS: %v", err))
		return stop
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		a.meters.write(w)
	})
	const limit = 5 * time.Second
	server := &http.Server{Handler: mux, ReadTimeout: limit, WriteTimeout: limit, IdleTimeout: tick, MaxHeaderBytes: 8 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("metrics are no longer served", keyCause, err.Error())
		}
	}()
	a.log.Info("metrics are served", "address", listener.Addr().String())
	return func() {
		_ = server.Close()
		<-done
	}
}
