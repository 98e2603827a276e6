// Package bench_test compares gatepass-webhook with the least that a webhook
// on the same library costs.
package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/product"
	"github.com/gatepass/gatepass/test/repo"
)

const (
	// Machines are shared and noisy, so the two take turns for many short
	// rounds, and the medians of the rounds' ratios count.
	rounds    = 24
	roundTime = 300 * time.Millisecond

	// What the comparison must not exceed, at 16 connections.
	maxCPU        = 1.15
	minThroughput = 0.85
)

// target is a server under load.
type target struct {
	*process.Process

	address string
	tls     *tls.Config
	request []byte
}

// contender starts one server on a port, writing its log to a file as a
// container runtime does.
func contender(b *testing.B, guard *process.Guard, name string, command ...string) *process.Process {
	b.Helper()
	log := filepath.Join(guard.Dir(), name+".log")
	p, err := process.Start(process.Options{
		Name: name, Guard: guard, Path: "/bin/sh",
		Args: append([]string{"-c", `log="$1"; shift; exec "$@" 2>>"$log"`, "sh", log}, command...),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Stop(); err != nil {
			b.Error(err)
		}
	})
	return p
}

// start starts both servers with one certificate.
func start(b *testing.B) (ours, floor *target) {
	b.Helper()
	guard, err := process.NewGuard()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = guard.Release() })
	commands, err := product.New(b.Context(), product.Webhook)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = commands.Close() })
	binary := filepath.Join(guard.Dir(), "floor")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./floor").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	ca, err := pki.NewCA("bench")
	if err != nil {
		b.Fatal(err)
	}
	pair, err := ca.Server("127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	dir := guard.Dir()
	for name, content := range map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	root, err := repo.Root()
	if err != nil {
		b.Fatal(err)
	}
	config := &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"http/1.1"}} // as the API server speaks to webhooks
	ours, floor = &target{tls: config}, &target{tls: config}
	ports, err := process.ReservePorts(4)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ports.Close() })
	ourPort, floorPort := ports.Numbers[0], ports.Numbers[1]
	ours.address, floor.address = fmt.Sprintf("127.0.0.1:%d", ourPort), fmt.Sprintf("127.0.0.1:%d", floorPort)
	ours.Process = contender(b, guard, "gatepass-webhook", commands.Path(product.Webhook),
		"--config", filepath.Join(root, "injector", "testdata", "config.yaml"), "--cert-dir", dir, "--shutdown-delay", "0s",
		"--bind-address", "127.0.0.1", "--port", strconv.Itoa(ourPort),
		"--metrics-bind-address", fmt.Sprintf("127.0.0.1:%d", ports.Numbers[2]), "--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", ports.Numbers[3]))
	floor.Process = contender(b, guard, "floor", binary, "--cert-dir", dir, "--port", strconv.Itoa(floorPort))
	return ours, floor
}

// review is what an API server really sent, with or without managedFields.
func review(b *testing.B, managed bool) []byte {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "review.json"))
	if err != nil {
		b.Fatal(err)
	}
	if managed {
		return bytes.TrimSpace(raw)
	}
	patch, err := jsonpatch.DecodePatch([]byte(`[{"op":"remove","path":"/request/object/metadata/managedFields"}]`))
	if err != nil {
		b.Fatal(err)
	}
	if raw, err = patch.Apply(raw); err != nil {
		b.Fatal(err)
	}
	return raw
}

// connection is one keep-alive connection.
type connection struct {
	conn   *tls.Conn
	reader *bufio.Reader
}

// connect tries until the server listens.
func (t *target) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	dialer := &tls.Dialer{Config: t.tls}
	for {
		dialed, err := dialer.DialContext(ctx, "tcp", t.address)
		if conn, ok := dialed.(*tls.Conn); ok && err == nil {
			return &connection{conn: conn, reader: bufio.NewReaderSize(conn, 32<<10)}, nil
		}
		select {
		case <-tick.C:
		case <-t.Done():
			return nil, errors.New("a server ended: " + t.Logs())
		case <-ctx.Done():
			return nil, err
		}
	}
}

// exchange sends one review and reads its answer to the end.
func (c *connection) exchange(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"allowed":true`)) {
		return fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	return nil
}

// result is one round.
type result struct{ perSecond, cpu float64 }

// round loads the server for a while on open connections.
func (t *target) round(b *testing.B, connections []*connection) result {
	b.Helper()
	var group errgroup.Group
	counts := make([]int, len(connections))
	before, began := t.cpu(b), time.Now()
	for i, c := range connections {
		group.Go(func() error {
			for time.Since(began) < roundTime {
				if err := c.exchange(t.request); err != nil {
					return err
				}
				counts[i]++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	took, used := time.Since(began), t.cpu(b)-before
	total := 0
	for _, n := range counts {
		total += n
	}
	return result{perSecond: float64(total) / took.Seconds(), cpu: used.Seconds() / float64(total)}
}

// cpu is what the process has used, by the scheduler's count in nanoseconds
// (Documentation/scheduler/sched-stats.rst): /proc/PID/stat counts ticks.
func (t *target) cpu(b *testing.B) time.Duration {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", t.PID()))
	if err != nil || len(files) == 0 {
		b.Fatalf("no schedstat of process %d; this benchmark needs Linux", t.PID())
	}
	var sum time.Duration
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		first, _, _ := strings.Cut(string(line), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n)
	}
	return sum
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkAdmission reports requests per second and CPU time per request of
// both servers, and the ratios.
func BenchmarkAdmission(b *testing.B) {
	ours, floor := start(b)
	for _, size := range []struct {
		name    string
		managed bool
	}{{"pod=3.6KB", false}, {"pod=6.6KB-with-managedFields", true}} {
		body := review(b, size.managed)
		head := fmt.Sprintf("POST /mutate HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAccept: application/json, */*\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: %d\r\n\r\n", len(body))
		ours.request = append([]byte(head), body...)
		floor.request = ours.request
		for _, n := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/connections=%d", size.name, n), func(b *testing.B) {
				for b.Loop() {
					compare(b, ours, floor, n)
				}
			})
		}
	}
}

func compare(b *testing.B, ours, floor *target, n int) {
	b.Helper()
	open := map[*target][]*connection{}
	for _, t := range []*target{ours, floor} {
		for range n {
			c, err := t.connect(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = c.conn.Close() })
			open[t] = append(open[t], c)
		}
		t.round(b, open[t]) // warms up
	}
	var rates, cpus [2][]float64
	var rateRatios, cpuRatios []float64
	for i := range rounds {
		var r [2]result
		order := []int{i % 2, 1 - i%2} // whoever goes first has a cooler machine
		for _, who := range order {
			t := []*target{ours, floor}[who]
			r[who] = t.round(b, open[t])
			rates[who] = append(rates[who], r[who].perSecond)
			cpus[who] = append(cpus[who], r[who].cpu*1e6)
		}
		rateRatios = append(rateRatios, r[0].perSecond/r[1].perSecond)
		cpuRatios = append(cpuRatios, r[0].cpu/r[1].cpu)
	}
	cpuRatio, rateRatio := median(cpuRatios), median(rateRatios)
	b.ReportMetric(0, "ns/op") // an operation is the whole comparison
	b.ReportMetric(median(rates[0]), "req/s")
	b.ReportMetric(median(rates[1]), "floor-req/s")
	b.ReportMetric(median(cpus[0]), "cpu-µs/req")
	b.ReportMetric(median(cpus[1]), "floor-cpu-µs/req")
	b.ReportMetric(cpuRatio, "cpu-ratio")
	b.ReportMetric(rateRatio, "throughput-ratio")
	if n == 16 && (cpuRatio > maxCPU || rateRatio < minThroughput) {
		b.Errorf("CPU per request is %.2f of the floor's (at most %.2f), throughput %.2f (at least %.2f)", cpuRatio, maxCPU, rateRatio, minThroughput)
	}
}
