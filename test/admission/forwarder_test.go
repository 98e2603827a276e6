package admission_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// forwarder stands where a Service stands: an address that stays while what is
// behind it changes. New connections go to the port that lead named last; old
// ones stay where they are.
type forwarder struct {
	listener net.Listener
	wait     sync.WaitGroup

	mu    sync.Mutex
	port  int // 0: nobody is there
	conns map[net.Conn]bool
}

func newForwarder(ctx context.Context) (*forwarder, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a forwarder: %w", err)
	}
	f := &forwarder{listener: listener, conns: map[net.Conn]bool{}}
	f.wait.Go(f.accept)
	return f, nil
}

func (f *forwarder) address() string { return f.listener.Addr().String() }

// lead sets the port of 127.0.0.1 for new connections; 0 is an outage, which
// old connections feel, too.
func (f *forwarder) lead(port int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.port = port
	if port == 0 {
		for c := range f.conns {
			_ = c.Close() // its pump ends
		}
	}
}

func (f *forwarder) close() error {
	err := f.listener.Close()
	f.lead(0)
	f.wait.Wait()
	return err
}

func (f *forwarder) accept() {
	for {
		conn, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			continue
		}
		f.wait.Go(func() { f.forward(conn) })
	}
}

func (f *forwarder) forward(from net.Conn) {
	defer from.Close()
	f.mu.Lock()
	port := f.port
	f.conns[from] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.conns, from)
		f.mu.Unlock()
	}()
	if port == 0 {
		return
	}
	var dialer net.Dialer
	to, err := dialer.DialContext(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return
	}
	defer to.Close()
	var pump sync.WaitGroup
	pump.Go(func() { _, _ = io.Copy(to, from); _ = to.Close() })
	_, _ = io.Copy(from, to)
	_ = from.Close()
	pump.Wait()
}
