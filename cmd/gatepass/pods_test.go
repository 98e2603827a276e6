package main

import (
	"io"
	"runtime"
	"strings"
	"testing"
)

// A cluster may have more pods than fit into memory as one list. The test has
// the process for itself: it measures the heap, which parallel ones share.
func TestPodsAreReadOneByOne(t *testing.T) {
	const (
		pods  = 5_000
		bound = 8 << 20
	)
	item := `{"kind":"Pod","metadata":{"name":"app","annotations":{"gatepass.dev/inject":"true","big":"` + strings.Repeat("x", 8<<10) +
		`"}},"spec":{"initContainers":[{"name":"gatepass-agent"}]}}`
	readers := []io.Reader{strings.NewReader(`{"kind":"List","items":[` + item)}
	for range pods - 1 {
		readers = append(readers, strings.NewReader(","), strings.NewReader(item))
	}
	highest := &heap{Reader: io.MultiReader(append(readers, strings.NewReader(`]}`))...)}
	highest.look()
	start := highest.bytes
	survey, err := surveyPods(highest)
	if err != nil || survey.Pods != pods || survey.Asking != pods || len(survey.WithoutAgent) != 0 {
		t.Fatalf("%+v, %v", survey, err)
	}
	if got := highest.bytes - start; got > bound {
		t.Errorf("%d bytes of pods took %d bytes of memory at a time, want at most %d", pods*len(item), got, bound)
	}
}

// heap notes the most memory that was in use while something was read.
type heap struct {
	io.Reader

	reads int
	bytes uint64
}

func (h *heap) Read(p []byte) (int, error) {
	if h.reads++; h.reads%2048 == 0 {
		h.look()
	}
	return h.Reader.Read(p)
}

func (h *heap) look() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.bytes = max(h.bytes, m.HeapAlloc)
}
