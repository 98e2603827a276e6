package gateway

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/gateway/audit"
)

// loginBuckets are the bounds, in seconds, of the histograms of logins and
// token reviews: a review takes a millisecond when all is well and ends after
// eight seconds at most.
func loginBuckets() []float64 {
	return []float64{.0005, .001, .002, .004, .008, .016, .032, .064, .128, .256, .512, 1, 2, 4, 8, 16}
}

type metrics struct {
	logins       *prometheus.CounterVec
	loginSeconds prometheus.Histogram
	inFlight     prometheus.Gauge
	commands     *prometheus.CounterVec
	panics       prometheus.Counter
	limited      *prometheus.CounterVec
}

// newMetrics registers the metrics; waiting tells how many logins wait for their
// turn, and the gates how many commands are under way.
func newMetrics(registry prometheus.Registerer, waiting func() int64, reads, changes *gate) (*metrics, error) {
	m := &metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatepass_gateway_logins_total",
			Help: "Logins by result (granted, denied, failed) and reason; the audit log has one line for each.",
		}, []string{"result", "reason"}),
		loginSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gatepass_gateway_login_duration_seconds",
			Help:    "Time from a login's request to its answer, waiting included.",
			Buckets: loginBuckets(),
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatepass_gateway_logins_in_flight",
			Help: "Logins that are being worked on or wait for their turn.",
		}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatepass_gateway_commands_total",
			Help: "Commands of the V2 API by name and status of the answer.",
		}, []string{"command", "status"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatepass_gateway_panics_total",
			Help: "Requests that ended in a panic. Each is a defect.",
		}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatepass_gateway_requests_limited_total",
			Help: "Requests answered 429, by the limit that they were beyond: client-rate and method-rate, which are set by flags, or reads and changes, which are commands that waited too long for their turn.",
		}, []string{"limit"}),
	}
	// A counter that is not there yet hides its first increase from rate().
	m.logins.WithLabelValues(string(audit.Failed), reasonOverloaded)
	for _, limit := range []string{limitClient, limitMethod, limitReads, limitChanges} {
		m.limited.WithLabelValues(limit)
	}
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatepass_gateway_logins_waiting",
		Help: "Logins that wait for their turn to have their token reviewed.",
	}, func() float64 { return float64(waiting()) })
	underWay := func(kind string, of *gate) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "gatepass_gateway_commands_in_flight",
			Help:        "Commands on the catalog that are under way, by kind (read, change).",
			ConstLabels: prometheus.Labels{"kind": kind},
		}, func() float64 { return float64(of.inside.Load()) })
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.logins, m.loginSeconds, m.inFlight, m.commands, m.panics, m.limited, queue, underWay("read", reads), underWay("change", changes),
	} {
		errs = append(errs, registry.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register the gateway's metrics: %w", err)
	}
	return m, nil
}
