package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	readinesslog "github.com/gatepass/gatepass/internal/readiness"
)

// readiness answers the kubelet's probes.
type readiness struct {
	checks   []check
	draining atomic.Bool
	log      *readinesslog.Log
}

type check struct {
	name string
	run  func() error
}

func (r *readiness) drain() { r.draining.Store(true) }

// err returns nil when admissions can be answered, or every reason why not.
func (r *readiness) err() error {
	if r.draining.Load() {
		return errors.New("the webhook is shutting down")
	}
	var errs []error
	for _, c := range r.checks {
		if err := c.run(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return errors.Join(errs...)
}

func (r *readiness) mux() *http.ServeMux {
	mux := http.NewServeMux()
	// Alive is whoever answers: a restart mends neither a broken configuration
	// nor a missing certificate.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := r.err()
		if !r.draining.Load() { // which is logged already
			r.log.Check(err) //nolint:contextcheck // what it logs is about the server, not about this request
		}
		if err != nil {
			http.Error(w, readinesslog.Text(err), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	return mux
}
