package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatepass/gatepass/gateway/audit"
)

// Measures are the metrics of what surrounds a Gateway: token reviews, the
// configuration, the certificate and the process.
type Measures struct {
	registry   *prometheus.Registry
	reviews    *prometheus.HistogramVec
	reloads    *prometheus.CounterVec
	reloadGood prometheus.Gauge
	reloadTime prometheus.Gauge
	unrecorded prometheus.Counter
}

// NewMeasures registers them in a registry of their own. notAfter tells when
// the serving certificate expires, zero if there is none.
func NewMeasures(notAfter func() time.Time) (*Measures, error) {
	m := &Measures{
		registry: prometheus.NewRegistry(),
		reviews: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatepass_gateway_token_review_duration_seconds",
			Help:    "Time that the API server took to review a token, by outcome (accepted, rejected, failed, cancelled).",
			Buckets: loginBuckets(),
		}, []string{"outcome"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatepass_gateway_config_reloads_total",
			Help: "Attempts to take a configuration into use, by result (success, failure).",
		}, []string{"result"}),
		reloadGood: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatepass_gateway_config_last_reload_successful",
			Help: "1 if the configuration file is in use as it is, 0 if it is broken and an older one stays in use.",
		}),
		reloadTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatepass_gateway_config_last_reload_success_timestamp_seconds",
			Help: "When a configuration was last taken into use.",
		}),
		unrecorded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatepass_gateway_audit_failures_total",
			Help: "Lines that the audit log could not take. What they tell of was refused.",
		}),
	}
	expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatepass_gateway_certificate_expiry_timestamp_seconds",
		Help: "When the serving certificate expires; 0 if there is none.",
	}, func() float64 {
		if t := notAfter(); !t.IsZero() {
			return float64(t.Unix())
		}
		return 0
	})
	var errs []error
	for _, c := range []prometheus.Collector{
		m.reviews, m.reloads, m.reloadGood, m.reloadTime, m.unrecorded, expiry,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		errs = append(errs, m.registry.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// Registry is where further metrics can be registered.
func (m *Measures) Registry() prometheus.Registerer { return m.registry }

// Handler serves all that is registered.
func (m *Measures) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Reviewed counts a token review.
func (m *Measures) Reviewed(outcome string, took time.Duration) {
	m.reviews.WithLabelValues(outcome).Observe(took.Seconds())
}

// Reloaded counts an attempt to take a configuration into use; nil is success.
func (m *Measures) Reloaded(err error) {
	if err != nil {
		m.reloads.WithLabelValues("failure").Inc()
		m.reloadGood.Set(0)
		return
	}
	m.reloads.WithLabelValues("success").Inc()
	m.reloadGood.Set(1)
	m.reloadTime.SetToCurrentTime()
}

// Audited counts what an audit log can't take.
func (m *Measures) Audited(log Auditor) Auditor { return audited{log, m.unrecorded} }

type audited struct {
	Auditor
	failures prometheus.Counter
}

// Write implements Auditor.
func (a audited) Write(e *audit.Event) error {
	err := a.Auditor.Write(e)
	if err != nil {
		a.failures.Inc()
	}
	return err
}

// Sealing shows which key seals the store. Its id is no secret.
func (m *Measures) Sealing(current func() string) error {
	if err := m.registry.Register(sealing{current, prometheus.NewDesc(
		"gatepass_gateway_seal_key_info", "The key that seals the store at present, by id; always 1.", []string{"key"}, nil,
	)}); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// sealing is a metric whose label changes.
type sealing struct {
	current func() string
	desc    *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (s sealing) Describe(to chan<- *prometheus.Desc) { to <- s.desc }

// Collect implements prometheus.Collector.
func (s sealing) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, 1, s.current())
}
