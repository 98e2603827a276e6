package webhook

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/injector"
)

// post sends a review to a handler.
func post(h *handler, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	return w
}

func TestReviewsWaitForTheirTurnAndSmallOnesForNoLargeOne(t *testing.T) {
	small := reviewOf(annotatedPod, nil)
	large := reviewOf(podWith(`"spec":{`, `"spec":{"more":[`+strings.Repeat("1,", usualCost/valueCost)+`1],`), nil)
	for _, row := range []struct {
		name         string
		usual, heavy int64 // are taken
		body         string
		busy         bool
	}{
		{"a small one while large ones are decided", 0, heavyBudget, small, false},
		{"a large one while small ones are decided", usualBudget, 0, large, false},
		{"a small one too many", usualBudget, 0, small, true},
		{"a large one too many", 0, heavyBudget, large, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, log := newTestHandler(newInjector(t))
				if !h.intake.usual.TryAcquire(row.usual) || !h.intake.heavy.TryAcquire(row.heavy) {
					t.Fatal("the intake is not empty")
				}
				began := time.Now()
				w := post(h, row.body)
				a := strict(t, w.Body.Bytes())
				if !row.busy {
					if w.Code != http.StatusOK || !a.Allowed || time.Since(began) != 0 {
						t.Errorf("status %d after %s: %s", w.Code, time.Since(began), w.Body)
					}
					return
				}
				if w.Code != http.StatusServiceUnavailable || a.Result.Reason != "ServiceUnavailable" || w.Header().Get("Retry-After") != retryAfter {
					t.Errorf("status %d, header %v: %s", w.Code, w.Header(), w.Body)
				}
				if took := time.Since(began); took != turnPatience {
					t.Errorf("it waited for %s", took)
				}
				h.metricsAndLog(t, log, injector.Denied, reasonBusy)
				// In the meantime others have ended, and all is given back.
				h.intake.usual.Release(row.usual)
				h.intake.heavy.Release(row.heavy)
				if post(h, row.body).Code != http.StatusOK || !h.intake.usual.TryAcquire(usualBudget) || !h.intake.heavy.TryAcquire(heavyBudget) {
					t.Error("a turn is lost")
				}
				if taken := h.intake.bodies.Taken(); taken != 0 {
					t.Errorf("%d bytes of bodies are lost", taken)
				}
			})
		})
	}
}

// greedy are pods that become as much as possible for their size.
func greedy() map[string]string {
	repeat := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			if strings.Contains(format, "%") {
				fmt.Fprintf(&b, format, i)
			} else {
				b.WriteString(format)
			}
		}
		return b.String()
	}
	const ask = `"metadata":{"name":"a","annotations":{"gatepass.dev/inject":"true"}}`
	spec := func(s string) string { return `{` + ask + `,"spec":{` + s + `}}` }
	const agent = `{"name":"gatepass-agent"},`
	// The largest number that is decoded, less what is around it; and far beyond it.
	const most, beyond = maxValues - 100, maxBody/3 - 1000
	return map[string]string{
		"containers beyond the bound":       spec(`"containers":[` + repeat(`{}`, beyond) + `]`),
		"containers":                        spec(`"containers":[` + repeat(`{}`, most/2) + `]`),
		"containers with names":             spec(`"containers":[` + repeat(`{"name":"c%d"}`, most/2) + `]`),
		"init containers":                   spec(`"initContainers":[` + repeat(`{}`, most/2) + `]`),
		"init containers and an agent":      spec(`"initContainers":[` + agent + repeat(`{}`, most/2-10) + `]`),
		"volumes":                           spec(`"volumes":[` + repeat(`{}`, most/2) + `]`),
		"projected sources":                 spec(`"volumes":[{"projected":{"sources":[` + repeat(`{}`, most/2) + `]}}]`),
		"mounts":                            spec(`"containers":[{"volumeMounts":[` + repeat(`{}`, most/2) + `]}]`),
		"mounts and volumes":                spec(`"volumes":[` + repeat(`{"name":"v%d"}`, most/5) + `],"containers":[{"name":"a","volumeMounts":[` + repeat(`{"name":"x","mountPath":"/var"}`, most/5) + `]}]`),
		"variables":                         spec(`"containers":[{"env":[` + repeat(`{"name":"GATEPASS_%d"}`, most/2) + `]}]`),
		"variables with escapes":            spec(`"containers":[{"env":[` + repeat(`"\u0041"`, most-10) + `]}]`),
		"variables of the agent":            spec(`"initContainers":[{"name":"gatepass-agent","env":[` + repeat(`{}`, most/2-10) + `],"envFrom":[]}]`),
		"arguments of the agent":            spec(`"initContainers":[{"name":"gatepass-agent","args":[` + repeat(`""`, most-10) + `]}]`),
		"node selectors":                    spec(`"nodeSelector":{` + repeat(`"%d":""`, most-10) + `}`),
		"unknown fields":                    spec(repeat(`"%d":0`, most-10)),
		"annotations of ours":               `{"metadata":{"annotations":{` + repeat(`"gatepass.dev/%d":"x"`, most) + `}}}`,
		"labels of ours":                    `{"metadata":{"labels":{` + repeat(`"gatepass.dev/%d":"x"`, most) + `}}}`,
		"an annotation of control letters":  `{"metadata":{"annotations":{"gatepass.dev/inject":"` + strings.Repeat(`\u0001`, (maxBody-2000)/6) + `"}}}`,
		"a list of containers of one":       `{"metadata":{"annotations":{"gatepass.dev/inject":"true","gatepass.dev/containers":"` + strings.Repeat(`a,`, (maxBody-2000)/2) + `b"}}}`,
		"a name of seven megabytes":         `{"metadata":{"name":"` + strings.Repeat("a", maxBody-2000) + `","annotations":{"gatepass.dev/inject":"true"}}}`,
		"a number of seven megabytes":       spec(`"securityContext":{"runAsUser":1` + strings.Repeat("0", maxBody-2000) + `}`),
		"a field name of seven megabytes":   spec(`"` + strings.Repeat("a", maxBody-2000) + `":0`),
		"a list that is too deep":           spec(`"a":` + strings.Repeat("[", maxBody/2-1000) + strings.Repeat("]", maxBody/2-1000)),
		"a profile name of seven megabytes": `{"metadata":{"annotations":{"gatepass.dev/inject":"true","gatepass.dev/profile":"` + strings.Repeat("a", maxBody-2000) + `"}}}`,
	}
}

// TestOneReviewTakesBoundedMemory sends the worst reviews that can be thought of, each
// alone. What is allocated from beginning to end is more than is there at a time.
func TestOneReviewTakesBoundedMemory(t *testing.T) {
	// Lists are copied again and again while they grow, by a quarter each time.
	const most = 6 * heavyBudget
	for name, pod := range greedy() {
		t.Run(name, func(t *testing.T) {
			h, _ := newTestHandler(newInjector(t))
			body := strings.Replace(reviewOf("{}", nil), `"object":{}`, `"object":`+pod, 1)
			if len(body) > maxBody {
				t.Fatalf("the body has %d bytes", len(body))
			}
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			began := time.Now()
			h.ServeHTTP(w, r)
			runtime.ReadMemStats(&after)
			grown := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d bytes in, %d out, %d allocated, in %s", len(body), w.Body.Len(), grown, time.Since(began))
			if a := strict(t, w.Body.Bytes()); w.Code >= http.StatusInternalServerError || w.Code == http.StatusOK && a.UID != reviewUID {
				t.Errorf("status %d: %.300s", w.Code, w.Body)
			}
			if grown > most {
				t.Errorf("%d bytes were allocated, want at most %d", grown, most)
			}
			if w.Body.Len() > 4<<20 {
				t.Errorf("the answer has %d bytes", w.Body.Len())
			}
		})
	}
}

func TestLargeBuffersAreNotKept(t *testing.T) {
	i := newIntake()
	i.put(bytes.NewBuffer(make([]byte, 0, maxPooled+1)))
	if b := i.buffer(); b.Cap() > maxPooled {
		t.Errorf("a buffer of %d bytes is kept", b.Cap())
	}
}
