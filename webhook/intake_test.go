package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// withheld is a body whose last byte comes when the test lets it.
type withheld struct {
	data    io.Reader
	reached chan<- struct{}
	proceed <-chan struct{}
}

func (w *withheld) Read(p []byte) (int, error) {
	n, err := w.data.Read(p)
	if errors.Is(err, io.EOF) && w.proceed != nil {
		w.reached <- struct{}{}
		<-w.proceed
		w.proceed = nil
	}
	return n, err
}

// withhold runs n requests of size bytes whose ends are missing, and returns
// their statuses. It calls then when each is refused or waits for its end.
func withhold(t *testing.T, h *handler, n int, size int64, declared bool, then func()) map[int]int {
	t.Helper()
	reached, proceed, done := make(chan struct{}), make(chan struct{}), make(chan int)
	for range n {
		r := httptest.NewRequest(http.MethodPost, Path, &withheld{io.LimitReader(zeros{}, size), reached, proceed})
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = -1
		if declared {
			r.ContentLength = size
		}
		go func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != retryAfter {
				w.Code = 0
			}
			done <- w.Code
		}()
	}
	statuses := map[int]int{}
	for range n {
		select {
		case <-reached:
		case status := <-done:
			statuses[status]++
		}
	}
	then()
	close(proceed)
	for range n - statuses[http.StatusServiceUnavailable] {
		statuses[<-done]++
	}
	return statuses
}

func TestBodiesUnderWayAreBounded(t *testing.T) {
	large := largeBudget / maxBody
	for _, row := range []struct {
		name     string
		size     int64
		declared bool
		n, taken int
	}{
		{"large bodies share a budget", maxBody, true, 64, large},
		{"a large body of unknown length counts as the largest", maxSmall + 1, false, 64, large},
		{"bodies a little above the limit of small ones count as they are", maxSmall + 1, true, maxRequests, largeBudget / (maxSmall + 1)},
		{"small bodies are bounded by their number", maxSmall, true, maxRequests + 20, maxRequests},
		{"small bodies of unknown length are bounded by their number", maxSmall, false, maxRequests + 20, maxRequests},
	} {
		t.Run(row.name, func(t *testing.T) {
			h, _ := newTestHandler(newInjector(t))
			var before, during runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			statuses := withhold(t, h, row.n, row.size, row.declared, func() {
				runtime.GC()
				runtime.ReadMemStats(&during)
			})
			if statuses[http.StatusBadRequest] != row.taken || statuses[http.StatusServiceUnavailable] != row.n-row.taken {
				t.Errorf("statuses %v, want %d answered", statuses, row.taken)
			}
			const bound = largeBudget + maxRequests*2*maxPooled
			if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > bound {
				t.Errorf("the heap grew by %d bytes, want at most %d", grown, bound)
			}
			// All of it is given back.
			if !h.intake.requests.TryAcquire(maxRequests) || !h.intake.large.TryAcquire(largeBudget) {
				t.Error("a share of the intake is lost")
			}
		})
	}
}

func TestABusyWebhookSaysSo(t *testing.T) {
	h, log := newTestHandler(newInjector(t))
	if !h.intake.requests.TryAcquire(maxRequests) {
		t.Fatal("the intake is not empty")
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(reviewOf(annotatedPod, nil)))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	a := strict(t, w.Body.Bytes())
	if w.Code != http.StatusServiceUnavailable || a.Result.Reason != "ServiceUnavailable" || w.Header().Get("Retry-After") != "1" {
		t.Errorf("status %d, header %v: %s", w.Code, w.Header(), w.Body)
	}
	h.metricsAndLog(t, log, "denied", reasonBusy)
}

func TestBodiesArriveWhole(t *testing.T) {
	i := newIntake()
	for _, size := range []int{0, 1, 511, maxSmall - 1, maxSmall, maxSmall + 1, 2*maxSmall + 7, maxBody} {
		for _, declared := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, declared %t", size, declared), func(t *testing.T) {
				data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				length := int64(-1)
				if declared {
					length = int64(size)
				}
				b := &body{intake: i}
				defer b.free()
				if err := b.read(bytes.NewReader(data), length); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(b.bytes(), data) {
					t.Errorf("%d bytes came back, or others", len(b.bytes()))
				}
				if limit := max(size, maxSmall) + 4*bytes.MinRead; declared && b.buffer.Cap() > limit+limit/4 {
					t.Errorf("a buffer of %d bytes for a body of %d", b.buffer.Cap(), size)
				}
			})
		}
	}
}

func TestLargeBuffersAreNotKept(t *testing.T) {
	i := newIntake()
	i.put(bytes.NewBuffer(make([]byte, 0, maxPooled+1)))
	if b := i.buffer(); b.Cap() > maxPooled {
		t.Errorf("a buffer of %d bytes is kept", b.Cap())
	}
}
