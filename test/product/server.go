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

// portTries is how often a start is repeated because somebody else took the
// port between its choice and its use.
const portTries = 3

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

// ports are those of one try to start a server.
type ports struct{ serve, metrics, health int }

func (p ports) flags() []string {
	return []string{
		fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", p.metrics),
		fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", p.health),
	}
}

// start runs a server until /readyz says that it is ready, on other ports
// again if one was taken meanwhile.
func (p *Product) start(ctx context.Context, command, address string, env []string, args func(*ports) []string) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for try := 1; ; try++ {
		use, err := choosePorts(ctx)
		if err != nil {
			return nil, err
		}
		own := args(&use)
		name := p.seen.next(command)
		proc, err := process.Start(process.Options{
			Name: name, Path: p.Path(command), Env: env, Guard: p.guard,
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
		err = s.WaitReady(ctx, s.Health+"/readyz")
		if err == nil {
			return s, nil
		}
		again := proc.PortTaken() && try < portTries
		killed := proc.Kill()
		if !again {
			return nil, errors.Join(err, killed)
		}
	}
}

func choosePorts(ctx context.Context) (ports, error) {
	var use ports
	for _, port := range []*int{&use.serve, &use.metrics, &use.health} {
		free, err := process.FreePort(ctx)
		if err != nil {
			return ports{}, err
		}
		*port = free
	}
	return use, nil
}
