package measured_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/gateway/metricstest"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
	"github.com/gatepass/gatepass/gateway/store/measured"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOperationsAreMeasured(t *testing.T) {
	t.Parallel()
	database, err := bolt.Open(bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	m, err := measured.New(database, registry)
	if err != nil {
		t.Fatal(err)
	}
	if got := metricstest.Values(t, registry); got["gatepass_gateway_store_up"] != 0 || got["gatepass_gateway_store_last_answer_timestamp_seconds"] != 0 {
		t.Errorf("before it was asked: %v", got)
	}
	ctx := t.Context()
	began := time.Now()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	for _, tt := range []struct {
		name, counted string
		do            func() error
	}{
		{"a commit", "commit ok", func() error { _, err := m.Commit(ctx, store.Create("a", nil)); return err }},
		{"a commit that loses", "commit conflict", func() error { _, err := m.Commit(ctx, store.Create("a", nil)); return err }},
		{"a commit of nothing", "commit error", func() error { _, err := m.Commit(ctx); return err }},
		{"a read", "get ok", func() error { _, err := m.Get(ctx, "a"); return err }},
		{"a read of nothing", "get not-found", func() error { _, err := m.Get(ctx, "b"); return err }},
		{"a read of somebody who goes", "get cancelled", func() error { _, err := m.Get(gone, "a"); return err }},
		{"a list", "list ok", func() error { _, err := m.List(ctx, store.Query{Limit: 1}); return err }},
		{"a snapshot", "snapshot ok", func() error {
			_, err := m.Snapshot(ctx, "", func(store.Item) error { return nil })
			return err
		}},
		{"a store that is closed", "get unavailable", func() error {
			if err := m.Close(); err != nil {
				return err
			}
			_, err := m.Get(ctx, "a")
			return err
		}},
	} {
		if up := metricstest.Values(t, registry)["gatepass_gateway_store_up"]; tt.name == "a store that is closed" && up != 1 {
			t.Errorf("up is %v", up)
		}
		err := tt.do()
		if n := metricstest.Values(t, registry)["gatepass_gateway_store_operation_duration_seconds "+tt.counted]; n != 1 {
			t.Errorf("%s: %v are counted as %s, error %v", tt.name, n, tt.counted, err)
		}
	}
	got := metricstest.Values(t, registry)
	if last := got["gatepass_gateway_store_last_answer_timestamp_seconds"]; got["gatepass_gateway_store_up"] != 0 || last < float64(began.Unix()) {
		t.Errorf("in the end: %v", got)
	}
}

// wavering is a store that answers, does not, or hangs.
type wavering struct {
	store.Store
	mu    sync.Mutex
	err   error
	hangs bool
	asked int
}

func (w *wavering) Get(ctx context.Context, _ string) (store.Item, error) {
	w.mu.Lock()
	w.asked++
	err, hangs := w.err, w.hangs
	w.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return store.Item{}, ctx.Err()
	}
	return store.Item{}, err
}

// turn has it answer in another way, and tells how often it was asked until then.
func (w *wavering) turn(err error, hangs bool) (asked int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.hangs = err, hangs
	return w.asked
}

func (w *wavering) questions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

func TestProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wavering{err: store.ErrNotFound}
		registry := prometheus.NewRegistry()
		m, err := measured.New(w, registry)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Probe(ctx) }()
		for _, tt := range []struct {
			name  string
			err   error
			hangs bool
			up    float64
		}{
			{"a store that answers", store.ErrNotFound, false, 1},
			{"one that can't be reached", fmt.Errorf("dial: %w", store.ErrUnavailable), false, 0},
			{"one that is back", store.ErrNotFound, false, 1},
			{"one that hangs", nil, true, 0},
			{"one that goes on", store.ErrNotFound, false, 1},
			{"one that fails in another way tells nothing new", errors.New("odd"), false, 1},
		} {
			asked := w.turn(tt.err, tt.hangs)
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if up := metricstest.Values(t, registry)["gatepass_gateway_store_up"]; up != tt.up || w.questions() == asked {
				t.Errorf("%s: up is %v after %d probes", tt.name, up, w.questions()-asked)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
