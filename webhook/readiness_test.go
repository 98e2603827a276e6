package webhook

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	readinesslog "github.com/gatepass/gatepass/internal/readiness"
)

func TestReadiness(t *testing.T) {
	fails := func(text string) func() error { return func() error { return errors.New(text) } }
	fine := func() error { return nil }
	for _, row := range []struct {
		name     string
		config   func() error
		cert     func() error
		draining bool
		status   int
		says     []string
	}{
		{"everything is there", fine, fine, false, http.StatusOK, []string{"ok"}},
		{"there is no configuration", fails("none loaded"), fine, false, http.StatusServiceUnavailable, []string{"config: none loaded"}},
		{"the certificate has expired", fine, fails("it expired"), false, http.StatusServiceUnavailable, []string{"certificate: it expired"}},
		{"every reason is given", fails("none loaded"), fails("it expired"), false, http.StatusServiceUnavailable, []string{"config: none loaded", "certificate: it expired"}},
		{"the webhook is shutting down", fine, fine, true, http.StatusServiceUnavailable, []string{"shutting down"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &readiness{checks: []check{{"config", row.config}, {"certificate", row.cert}}, log: readinesslog.NewLog(slog.New(slog.DiscardHandler))}
			if row.draining {
				r.drain()
			}
			recorder := httptest.NewRecorder()
			r.mux().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody))
			if recorder.Code != row.status {
				t.Errorf("status %d", recorder.Code)
			}
			for _, want := range row.says {
				if !strings.Contains(recorder.Body.String(), want) {
					t.Errorf("%q lacks %q", recorder.Body, want)
				}
			}
			alive := httptest.NewRecorder()
			r.mux().ServeHTTP(alive, httptest.NewRequest(http.MethodGet, "/healthz", http.NoBody))
			if alive.Code != http.StatusOK {
				t.Errorf("not alive: %d", alive.Code)
			}
		})
	}
}

func TestAWebhookThatIsNotReadyLogsWhy(t *testing.T) {
	var log strings.Builder
	r := &readiness{
		checks: []check{{"config", func() error { return errors.New("none loaded") }}},
		log:    readinesslog.NewLog(slog.New(slog.NewJSONHandler(&log, nil))),
	}
	for range 2 {
		r.mux().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody))
	}
	if got := log.String(); strings.Count(got, `"reason":"config: none loaded"`) != 1 {
		t.Errorf("logged %s", got)
	}
}

func TestTheServerIsNotReadyBeforeItListens(t *testing.T) {
	_, log := newLog()
	s, err := New(Options{ConfigFile: writeConfig(t, goodConfig), Certificate: newCertificate(t), Port: freePort(t), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ready.err(); err == nil || !strings.Contains(err.Error(), "admission: ") || strings.Contains(err.Error(), "config") {
		t.Errorf("got %v", err)
	}
}
