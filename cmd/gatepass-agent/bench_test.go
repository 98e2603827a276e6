package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/agent/gatetest"
)

// Limits that the agent keeps to: it runs in every pod.
const (
	maxBinary = 8_000_000  // bytes, stripped
	maxRSS    = 16_000_000 // bytes, peak
)

// build compiles a package as a release is compiled.
func build(tb testing.TB, pkg string) string {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "program")
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build %s: %v\n%s", pkg, err, msg)
	}
	return out
}

func size(tb testing.TB, path string) int64 {
	tb.Helper()
	info, err := os.Stat(path)
	if err != nil {
		tb.Fatal(err)
	}
	return info.Size()
}

// usage is what one run cost.
type usage struct {
	Took int64 `json:"took_ns"`
	CPU  int64 `json:"cpu_ns"`
	RSS  int64 `json:"rss"`
}

// bed is a gateway, and the programs that log in to it.
type bed struct {
	agent, bare, measure string
	env                  []string
	dir                  string
}

func newBed(tb testing.TB) *bed {
	tb.Helper()
	token := gatetest.Token(tb, map[string]any{"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "sub": "system:serviceaccount:my-ns:my-sa"})
	url, ca := gatetest.NewServer(tb, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		gatetest.Grant(w, token, time.Now().Add(time.Hour))
	})
	b := &bed{dir: tb.TempDir(), agent: build(tb, "."), bare: build(tb, "./testdata/bare"), measure: build(tb, "./testdata/measure")}
	identity := filepath.Join(b.dir, "identity")
	pod := gatetest.Token(tb, map[string]any{"sub": "system:serviceaccount:my-ns:my-sa", "kubernetes.io": map[string]any{"namespace": "my-ns"}})
	if err := os.WriteFile(identity, []byte(pod), 0o600); err != nil {
		tb.Fatal(err)
	}
	b.env = []string{
		"GATEPASS_GATEWAY_URL=" + url, "GATEPASS_CA_BUNDLE=" + ca.PEM(), "GATEPASS_ACCESS_ID=p-abcdefghij12km", "GATEPASS_AUTH_CONFIG=k8s-conf",
		"GATEPASS_IDENTITY_FILE=" + identity, "GATEPASS_TOKEN_FILE=" + filepath.Join(b.dir, "token"),
		"GATEPASS_TERMINATION_MESSAGE_FILE=" + filepath.Join(b.dir, "message"),
		"BARE_URL=" + url + "/auth", "BARE_CA=" + ca.PEM(), "BARE_BODY=" + pod, "BARE_OUT=" + filepath.Join(b.dir, "bare"),
	}
	return b
}

func (b *bed) run(tb testing.TB, program string) usage {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), b.measure, program)
	cmd.Env = b.env
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v", program, err)
	}
	var u usage
	if err := json.Unmarshal(out, &u); err != nil {
		tb.Fatal(err)
	}
	return u
}

// TestFootprint fails when the agent grows beyond what every pod can spare.
func TestFootprint(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	if got := size(t, b.agent); got > maxBinary {
		t.Errorf("the stripped binary has %d bytes, more than %d", got, maxBinary)
	}
	var peak int64
	for range 3 {
		peak = max(peak, b.run(t, b.agent).RSS)
	}
	if peak > maxRSS {
		t.Errorf("peak memory is %d bytes, more than %d", peak, maxRSS)
	}
}

// BenchmarkLogin compares the agent, from exec to exit, with a bare Go program
// that makes the same TLS request. The two run in turn, so that a busy machine
// slows both.
func BenchmarkLogin(b *testing.B) {
	bed := newBed(b)
	var agents, bares []usage
	bed.run(b, bed.agent) // warms the page cache
	bed.run(b, bed.bare)
	for b.Loop() {
		agents = append(agents, bed.run(b, bed.agent))
		bares = append(bares, bed.run(b, bed.bare))
	}
	median := func(us []usage, of func(usage) int64) float64 {
		all := make([]int64, len(us))
		for i, u := range us {
			all[i] = of(u)
		}
		slices.Sort(all)
		return float64(all[len(all)/2])
	}
	took := func(u usage) int64 { return u.Took }
	cpu := func(u usage) int64 { return u.CPU }
	rss := func(us []usage) float64 {
		return float64(slices.MaxFunc(us, func(a, b usage) int { return int(a.RSS - b.RSS) }).RSS)
	}
	const ms, mb = 1e6, 1e6
	b.ReportMetric(median(agents, took)/ms, "agent-ms")
	b.ReportMetric(median(bares, took)/ms, "bare-ms")
	b.ReportMetric((median(agents, took)-median(bares, took))/ms, "over-bare-ms")
	b.ReportMetric(median(agents, cpu)/ms, "agent-cpu-ms")
	b.ReportMetric(median(bares, cpu)/ms, "bare-cpu-ms")
	b.ReportMetric(rss(agents)/mb, "agent-peak-MB")
	b.ReportMetric(rss(bares)/mb, "bare-peak-MB")
	b.ReportMetric(float64(size(b, bed.agent))/mb, "agent-binary-MB")
	b.ReportMetric(float64(size(b, bed.bare))/mb, "bare-binary-MB")
}
