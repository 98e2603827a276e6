package injector_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatepass/gatepass/injector"
)

// FuzzDecide gives the injector whole pods: whatever the bytes are, it must
// not panic, and what it adds must be additions only, once.
func FuzzDecide(f *testing.F) {
	for _, raw := range fixtures(f) {
		f.Add(raw)
	}
	for seed := range uint64(20) {
		f.Add(randomPod(rand.New(rand.NewPCG(seed, 2)))) //nolint:gosec // repeatable on purpose
	}
	i := injector.New(profiles(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !applicable(raw) {
			i.Decide(raw)
			return
		}
		checkAdditions(t, i, raw)
	})
}

// applicable leaves out what the test's own tools can't take, and the API
// server never sends: objects that encoding/json would read differently, and
// lists whose entries have no structure.
func applicable(raw []byte) bool {
	var pod struct {
		Spec struct {
			Containers     []map[string]json.RawMessage `json:"containers"`
			InitContainers []map[string]json.RawMessage `json:"initContainers"`
			Volumes        []map[string]json.RawMessage `json:"volumes"`
		} `json:"spec"`
	}
	return utf8.Valid(raw) && json.Unmarshal(raw, &pod) == nil
}

// FuzzAnnotations gives one annotation of ours any value.
func FuzzAnnotations(f *testing.F) {
	names := []string{"inject", "profile", "status", "unknown"}
	names = append(names, injector.Overridable()...)
	for n := range names {
		for _, value := range []string{"", "true", "app", "a,b", "/x/../y", "0400", "600", "10m", "p-abc", "$(HOME)", "\x00", "ü", "../..", "99999999999999999999"} {
			f.Add(uint8(n), value)
		}
	}
	i := injector.New(profiles(f))
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		name := names[int(which)%len(names)]
		notes := map[string]string{"gatepass.dev/inject": "true", "gatepass.dev/" + name: value}
		if strings.HasPrefix(name, "auth-") || name == "role" {
			notes["gatepass.dev/profile"] = "vault"
		}
		raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": notes}, "spec": map[string]any{"containers": []any{map[string]any{"name": "app"}}}})
		if err != nil {
			t.Fatal(err)
		}
		d := i.Decide(raw)
		switch d.Result {
		case injector.Injected:
			checkAdditions(t, i, raw)
		case injector.Denied:
			if !strings.Contains(d.Message(), "gatepass.dev/") {
				t.Fatalf("the refusal names no key: %q", d.Message())
			}
		case injector.Skipped:
			if name != "inject" {
				t.Fatalf("annotation %s=%q made the pod skipped", name, value)
			}
		default:
			t.Fatalf("unexpected result %s", d.Result)
		}
	})
}
