package connlimit_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/internal/connlimit"
)

// pipes is a listener whose connections are pipes from addresses of the test's choice.
type pipes struct {
	came   chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.came:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr {
	return &net.TCPAddr{}
}

// from is one end of a pipe, with a client's address.
type from struct {
	net.Conn
	address string
}

func (f from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(f.address), 1))
}

// rig is a server that reads from its connections until they end.
type rig struct {
	*connlimit.Listener
	inner  *pipes
	served chan net.Conn // with context.Context of its requests
}

func start(t *testing.T, o connlimit.Options) *rig {
	t.Helper()
	r := &rig{inner: &pipes{make(chan net.Conn, 100), make(chan struct{})}, served: make(chan net.Conn, 100)}
	r.Listener = connlimit.New(r.inner, o)
	go func() {
		for {
			conn, err := r.Accept()
			if err != nil {
				return
			}
			r.served <- conn
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return r
}

// connect opens a connection; it is the client's end.
func (r *rig) connect(address string) net.Conn {
	client, server := net.Pipe()
	r.inner.came <- from{server, address}
	return client
}

// next is the connection that is served next.
func (r *rig) next(t *testing.T, address string) net.Conn {
	t.Helper()
	synctest.Wait()
	select {
	case conn := <-r.served:
		if got := connlimit.Address(conn.RemoteAddr().String()).String(); got != address {
			t.Fatalf("a connection of %s is served, want one of %s", got, address)
		}
		return conn
	default:
		t.Fatalf("no connection is served, want one of %s; %d are open and %d wait", address, r.Open(), r.Waiting())
		return nil
	}
}

func (r *rig) none(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if len(r.served) > 0 {
		t.Fatalf("a connection of %s is served", (<-r.served).RemoteAddr())
	}
}

// ended reports whether the server has closed a connection.
func ended(conn net.Conn) bool {
	synctest.Wait()
	_ = conn.SetReadDeadline(time.Now().Add(time.Nanosecond))
	_, err := conn.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

func prove(conn net.Conn) {
	connlimit.Prove(connlimit.ConnContext(context.Background(), conn))
}

func (r *rig) end(t *testing.T, clients ...net.Conn) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for _, conn := range clients {
		_ = conn.Close()
	}
	synctest.Wait()
	if r.Open() != 0 || r.Waiting() != 0 {
		t.Errorf("%d connections are open and %d wait after the end", r.Open(), r.Waiting())
	}
}

const (
	one   = "192.0.2.1"
	two   = "192.0.2.2"
	three = "192.0.2.3"
)

func TestWithoutGraceConnectionsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, connlimit.Options{Total: 3, PerClient: 2})
		a, b := r.connect(one), r.connect(one)
		r.next(t, one)
		r.next(t, one)
		waits := r.connect(one) // its client has what one may have
		r.none(t)
		c := r.connect(two)
		r.next(t, two)
		d := r.connect(two) // all are taken
		time.Sleep(time.Hour)
		r.none(t)
		if r.Open() != 3 || r.Waiting() != 1 || r.Evicted() != 0 {
			t.Errorf("%d are open, %d wait, %d were evicted", r.Open(), r.Waiting(), r.Evicted())
		}
		_ = a.Close()
		r.next(t, one) // the one that waited has the place of its client's
		_ = b.Close()
		r.next(t, two)
		r.end(t, waits, c, d)
	})
}

func TestAsManyAsAreServedMayWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, connlimit.Options{Total: 2, PerClient: 1})
		clients := []net.Conn{r.connect(one), r.connect(one), r.connect(one)}
		r.next(t, one)
		last := r.connect(one)
		if !ended(last) || r.Refused() != 1 || r.Waiting() != 2 {
			t.Errorf("%d are refused, %d wait", r.Refused(), r.Waiting())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for i, conn := range clients[1:] {
			if !ended(conn) {
				t.Errorf("connection %d waits after the end", i)
			}
		}
		_ = clients[0].Close()
	})
}

const grace = time.Second

func TestANewcomerTakesThePlaceOfAStranger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, connlimit.Options{Total: 4, PerClient: 4, Grace: grace})
		good := r.connect(one)
		prove(r.next(t, one))
		oldest := r.connect(two)
		r.next(t, two)
		time.Sleep(time.Millisecond)
		second, third := r.connect(two), r.connect(two)
		r.next(t, two)
		r.next(t, two)
		// Who has several that show nothing has no grace.
		newcomer := r.connect(three)
		prove(r.next(t, three))
		if !ended(oldest) || ended(second) || ended(third) || ended(good) || r.Evicted() != 1 {
			t.Errorf("not the oldest stranger was evicted; %d were", r.Evicted())
		}
		// The next one is no better than those: it waits for the end of their grace.
		another := r.connect(two)
		r.none(t)
		time.Sleep(grace)
		r.next(t, two)
		if r.Evicted() != 2 || ended(good) || ended(newcomer) {
			t.Errorf("%d were evicted", r.Evicted())
		}
		r.end(t, good, second, third, newcomer, another)
	})
}

func TestOneClientsStrangersDoNotKeepItsOthersWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, connlimit.Options{Total: 4, PerClient: 2, Grace: grace})
		good, silent := r.connect(one), r.connect(one)
		prove(r.next(t, one))
		r.next(t, one)
		newcomer := r.connect(one)
		r.none(t)
		time.Sleep(grace)
		r.next(t, one)
		if !ended(silent) || ended(good) || r.Evicted() != 1 {
			t.Errorf("not the stranger was evicted; %d were", r.Evicted())
		}
		r.end(t, good, newcomer)
	})
}

func TestIdleConnectionsOfWhoHasManyMakeRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, connlimit.Options{Total: 3, PerClient: 3, Grace: grace})
		var clients, served []net.Conn
		for range 3 {
			clients = append(clients, r.connect(one))
			conn := r.next(t, one)
			prove(conn)
			served = append(served, conn)
		}
		busy, longest, shorter := served[0], served[1], served[2]
		connlimit.ConnState(longest, http.StateIdle)
		time.Sleep(time.Millisecond)
		connlimit.ConnState(shorter, http.StateIdle)
		connlimit.ConnState(busy, http.StateIdle)
		connlimit.ConnState(busy, http.StateActive)
		newcomer := r.connect(two)
		r.none(t) // they have only just become idle
		time.Sleep(grace + grace/4)
		r.next(t, two)
		if !ended(clients[1]) || ended(clients[0]) || ended(clients[2]) {
			t.Error("not the one that has been idle for longest was evicted")
		}
		r.end(t, append(clients, newcomer)...)
	})
}

func TestTheEndComesAlsoWhileOneWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, connlimit.Options{Total: 1, PerClient: 1, Grace: grace})
		served := r.connect(one)
		prove(r.next(t, one))
		parked := r.connect(one)
		r.none(t)
		waits := r.connect(two) // and keeps the next from being accepted
		r.none(t)
		r.end(t, served)
		if !ended(waits) || !ended(parked) {
			t.Error("a connection waits after the end")
		}
		time.Sleep(2 * grace) // timers find nothing
	})
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1/32", "[::ffff:192.0.2.1]:80": "192.0.2.1/32", "[2001:db8::1:2:3:4]:80": "2001:db8::/64",
		"[fe80::1%eth0]:80": "fe80::/64", "@": "invalid Prefix",
	} {
		if got := connlimit.Network(connlimit.Address(remote)).String(); got != want {
			t.Errorf("%s is of %s, want %s", remote, got, want)
		}
	}
}
