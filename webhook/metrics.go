package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/gatepass/gatepass/internal/bodies"
	"github.com/gatepass/gatepass/internal/connlimit"
)

// Values of the label result where something was taken over, or was not.
const (
	resultSuccess = "success"
	resultFailure = "failure"
)

// metrics are the webhook's own, in a registry of its own.
type metrics struct {
	registry   *prometheus.Registry
	admissions *prometheus.CounterVec
	duration   prometheus.Histogram
	reloadOK   prometheus.Gauge
	reloadTime prometheus.Gauge
	reloads    *prometheus.CounterVec
	changes    *prometheus.CounterVec
}

// newMetrics registers the metrics; expiry tells when the served certificate
// ends, the zero time if none is served.
func newMetrics(expiry func() time.Time) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatepass_webhook_admissions_total",
			Help: "Admission reviews answered, by result and reason.",
		}, []string{keyResult, keyReason}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatepass_webhook_admission_duration_seconds",
			Help: "Time from a review's arrival to its answer.",
			Buckets: []float64{
				.00005, .0001, .0002, .0003, .0005, .00075, .001, .0025, .005, .01, .025, .05, .1, .5, 1, 5,
			},
		}),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatepass_webhook_config_last_reload_successful",
			Help: "1 if the configuration file as it is now is in use, 0 if it is broken and the last good one is in use.",
		}),
		reloadTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatepass_webhook_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in use was loaded, in seconds since 1970.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatepass_webhook_config_reloads_total",
			Help: "Changes of the configuration that were noticed, by result.",
		}, []string{keyResult}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatepass_webhook_certificate_changes_total",
			Help: "Changes of the serving certificate's files or, with self-managed certificates, of the published authorities, by result.",
		}, []string{keyResult}),
	}
	// A counter that is not there yet hides its first increase from rate().
	for _, result := range []string{resultSuccess, resultFailure} {
		m.reloads.WithLabelValues(result)
		m.changes.WithLabelValues(result)
	}
	m.registry.MustRegister(m.admissions, m.duration, m.reloadOK, m.reloadTime, m.reloads, m.changes,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatepass_webhook_certificate_expiry_timestamp_seconds",
			Help: "When the serving certificate expires, in seconds since 1970; 0 if there is none.",
		}, func() float64 {
			if t := expiry(); !t.IsZero() {
				return float64(t.Unix())
			}
			return 0
		}),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// connections publishes those to the admission port.
func (m *metrics) connections(l *connlimit.Listener) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatepass_webhook_connections",
			Help: "Connections to the admission port that are served. Those beyond the limit wait to be accepted and are not counted.",
		}, func() float64 { return float64(l.Open()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatepass_webhook_connections_waiting",
			Help: "Connections to the admission port that wait for others of the same client to be closed.",
		}, func() float64 { return float64(l.Waiting()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatepass_webhook_connections_refused_total",
			Help: "Connections to the admission port that were closed at once, because too many wait for others of their client.",
		}, func() float64 { return float64(l.Refused()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatepass_webhook_connections_evicted_total",
			Help: "Connections to the admission port that were closed because others waited: without a review, or idle.",
		}, func() float64 { return float64(l.Evicted()) }))
}

// bodies publishes what becomes of requests that arrive slowly.
func (m *metrics) bodies(b *bodies.Budget) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatepass_webhook_body_bytes",
			Help: "Memory of large bodies that arrive or are being answered, in bytes.",
		}, func() float64 { return float64(b.Taken()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatepass_webhook_bodies_cut_off_total",
			Help: "Large bodies that were given up because they arrived slowly and others needed their memory.",
		}, func() float64 { return float64(b.CutOff()) }))
}

func (m *metrics) observe(a *answer, took time.Duration) {
	m.admissions.WithLabelValues(string(a.Result), string(a.Reason)).Inc()
	m.duration.Observe(took.Seconds())
}

func (m *metrics) reloaded(err error) {
	if err != nil {
		m.reloadOK.Set(0)
		m.reloads.WithLabelValues(resultFailure).Inc()
		return
	}
	m.reloadOK.Set(1)
	m.reloadTime.SetToCurrentTime()
	m.reloads.WithLabelValues(resultSuccess).Inc()
}

func (m *metrics) certificateChanged(err error) {
	if err != nil {
		m.changes.WithLabelValues(resultFailure).Inc()
		return
	}
	m.changes.WithLabelValues(resultSuccess).Inc()
}
