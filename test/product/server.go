package product

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gatepass/gatepass/test/process"
)

// readyTimeout bounds a server's start; one that is idle needs some 50 ms.
const readyTimeout = 30 * time.Second

// names makes process names unique.
type names struct {
	mu    sync.Mutex
	count map[string]int
}

func (n *names) next(command string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.count == nil {
		n.count = map[string]int{}
	}
	n.count[command]++
	return command + "-" + strconv.Itoa(n.count[command])
}

// loopback is where servers listen unless a test says otherwise.
const loopback = "127.0.0.1"

// Server is a running command that serves HTTPS.
type Server struct {
	*process.Process

	// Address and Port serve the product's own protocol, with TLS.
	Address string
	Port    int
	// Metrics and Health are base addresses, plain HTTP.
	Metrics, Health string
}

// URL is an address of the product's own protocol, by IP address.
func (s *Server) URL(path string) string {
	return fmt.Sprintf("https://%s:%d%s", s.Address, s.Port, path)
}

// ports are those of a server.
type ports struct{ serve, metrics, health int }

func (p ports) flags() []string {
	return []string{
		fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", p.metrics),
		fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", p.health),
	}
}

// start runs a server until /readyz says that it is ready.
func (p *Product) start(ctx context.Context, command, address string, env []string, args func(*ports) []string) (_ *Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	reserved, err := process.ReservePorts(3)
	if err != nil {
		return nil, err
	}
	// Until the server listens, or has failed.
	defer func() { err = errors.Join(err, reserved.Close()) }()
	use := ports{serve: reserved.Numbers[0], metrics: reserved.Numbers[1], health: reserved.Numbers[2]}
	own := args(&use)
	proc, err := process.Start(process.Options{
		Name: p.seen.next(command), Path: p.Path(command), Env: env, Guard: p.guard,
		Args: slices.Concat(own, use.flags()),
	})
	if err != nil {
		return nil, err
	}
	s := &Server{
		Process: proc,
		Address: address,
		Port:    use.serve,
		Metrics: fmt.Sprintf("http://127.0.0.1:%d", use.metrics),
		Health:  fmt.Sprintf("http://127.0.0.1:%d", use.health),
	}
	if err := s.WaitReady(ctx, s.Health+"/readyz"); err != nil {
		return nil, errors.Join(err, proc.Kill())
	}
	return s, nil
}
