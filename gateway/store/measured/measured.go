// Package measured tells how long a store takes, how its operations end, and
// whether it can be reached.
package measured

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/gateway/store"
)

const (
	// probeInterval is how often the store is asked for something when it is not
	// asked anyway, and probeTimeout for how long an answer is waited for.
	probeInterval = 10 * time.Second
	probeTimeout  = 5 * time.Second
	// probeKey need not exist: that there is no such item is an answer, too.
	probeKey = "probe"
)

// Results of operations, as the metrics name them.
const (
	resultOK          = "ok"
	resultNotFound    = "not-found"
	resultConflict    = "conflict"
	resultUnavailable = "unavailable"
	resultCancelled   = "cancelled"
	resultOther       = "error"
)

// Store is a store that is measured.
type Store struct {
	store.Store
	took *prometheus.HistogramVec
	// answered is when the store last did, in Unix nanoseconds, and down whether it
	// could not be reached since.
	answered atomic.Int64
	down     atomic.Bool
}

// New measures a store.
func New(s store.Store, registry prometheus.Registerer) (*Store, error) {
	m := &Store{Store: s, took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gatepass_gateway_store_operation_duration_seconds",
		Help:    "Time that the store took, by operation (get, list, snapshot, commit) and result (ok, not-found, conflict, unavailable, cancelled, error).",
		Buckets: []float64{.0001, .0005, .001, .002, .004, .008, .016, .032, .064, .128, .256, .512, 1, 2, 4, 8},
	}, []string{"operation", "result"})}
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatepass_gateway_store_up",
		Help: "1 if the store answered when it was last asked, 0 if not. It is asked every 10 s at least.",
	}, func() float64 {
		if m.down.Load() || m.answered.Load() == 0 {
			return 0
		}
		return 1
	})
	last := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatepass_gateway_store_last_answer_timestamp_seconds",
		Help: "When the store last answered; 0 if it never did.",
	}, func() float64 { return float64(m.answered.Load()) / float64(time.Second) })
	if err := errors.Join(registry.Register(m.took), registry.Register(up), registry.Register(last)); err != nil {
		return nil, fmt.Errorf("register the store's metrics: %w", err)
	}
	return m, nil
}

// Probe asks the store for something from time to time until ctx is done, so that
// its state is known while nobody else asks. It returns nil.
func (m *Store) Probe(ctx context.Context) error {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		if time.Since(time.Unix(0, m.answered.Load())) >= probeInterval || m.down.Load() {
			m.probe(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// probe takes a store that does not answer in time for one that can't be reached.
func (m *Store) probe(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if _, err := m.Get(bounded, probeKey); errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		m.down.Store(true)
	}
}

// Get implements store.Store.
func (m *Store) Get(ctx context.Context, key string) (item store.Item, err error) {
	defer m.observe("get", time.Now(), &err)
	return m.Store.Get(ctx, key)
}

// List implements store.Store.
func (m *Store) List(ctx context.Context, q store.Query) (page store.Page, err error) {
	defer m.observe("list", time.Now(), &err)
	return m.Store.List(ctx, q)
}

// Snapshot implements store.Store.
func (m *Store) Snapshot(ctx context.Context, prefix string, visit func(store.Item) error) (revision int64, err error) {
	defer m.observe("snapshot", time.Now(), &err)
	return m.Store.Snapshot(ctx, prefix, visit)
}

// Commit implements store.Store.
func (m *Store) Commit(ctx context.Context, ops ...store.Op) (revision int64, err error) {
	defer m.observe("commit", time.Now(), &err)
	return m.Store.Commit(ctx, ops...)
}

func (m *Store) observe(operation string, began time.Time, err *error) {
	result := resultOf(*err)
	m.took.WithLabelValues(operation, result).Observe(time.Since(began).Seconds())
	switch result {
	case resultOK, resultNotFound, resultConflict:
		m.answered.Store(time.Now().UnixNano())
		m.down.Store(false)
	case resultUnavailable:
		m.down.Store(true)
	}
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return resultOK
	case errors.Is(err, store.ErrNotFound):
		return resultNotFound
	case errors.Is(err, store.ErrConflict):
		return resultConflict
	case errors.Is(err, store.ErrUnavailable):
		return resultUnavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return resultCancelled
	}
	return resultOther
}
