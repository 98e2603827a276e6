package gateway_test

import (
	"sync/atomic"
	"testing"

	"github.com/gatepass/gatepass/test/product"
)

// BenchmarkChecks measures what it costs a gateway that sidecars ask whether their
// session was revoked: by a connection for each question, as agents do, and by kept
// ones, of which each agent would need one.
func BenchmarkChecks(b *testing.B) {
	const (
		checksPerRound = 1000
		kept           = 300
		// A pod asks every 45 s.
		checksASecond = 10_000 / 45.
	)
	s := newSecrets(b)
	s.gatewayProcess = startGateway(b, s.file, product.GatewayOptions{DataDir: b.TempDir(), Kubeconfig: s.reviewer, Env: asDeployed()})
	s.enter(b, liveSessions)
	shots := s.validations(checksPerRound, s.tokens)
	own, lasting := []float64{}, []float64{}
	each := func(work func()) float64 {
		before := cpu(b, s.PID())
		work()
		return float64((cpu(b, s.PID()) - before).Microseconds()) / checksPerRound
	}
	fire(b, s.wires(b, sessionConnections), shots)
	var next atomic.Int64
	for range 5 {
		own = append(own, each(func() {
			spread(b, make([]string, checksPerRound), func(string) error {
				w, err := s.dial(b.Context())
				if err != nil {
					return err
				}
				_, err = w.exchange(shots[next.Add(1)%checksPerRound].request)
				_ = w.conn.Close()
				return err
			})
		}))
		wires := s.wires(b, sessionConnections) // those of before were idle for too long
		lasting = append(lasting, each(func() { fire(b, wires, shots) }))
	}
	_, before := s.memory(b)
	fire(b, s.wires(b, kept), shots[:kept])
	_, after := s.memory(b)
	b.ReportMetric(0, "ns/op")
	measured.add(b, "cpu-µs/check", "A sidecar's check by a connection of its own: CPU time of the gateway, µs", "", median(own), 0)
	measured.add(b, "cpu-%-10000", "  of 10,000 sidecars, a check every 45 s: % of a processor", "<= 50", checksASecond*median(own)/1e4, 1)
	measured.add(b, "cpu-µs/kept-check", "  by a kept connection: µs", "", median(lasting), 0)
	measured.add(b, "kB/connection", "  memory of a kept connection, kB", "", max(0, after-before)*1000/kept, 0)
	b.Logf("rounds: %v, kept %v", own, lasting)
}
