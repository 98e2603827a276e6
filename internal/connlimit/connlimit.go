// Package connlimit bounds the connections of a server, in all and of each client, so
// that strangers can neither take all its memory nor keep others out.
//
// A [Listener] serves so many connections at a time; the next ones wait. With a grace
// period, a connection that wants in takes the place of one that has shown nothing
// yet: the server tells of good requests with [Prove], and of idle connections with
// [Listener.ConnState].
package connlimit

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Network names a client by its address, of IPv6 by the network of 64 bits that one
// host can have to itself.
func Network(client netip.Addr) netip.Prefix {
	bits := 32
	if client.Is6() {
		bits = 64
	}
	prefix, err := client.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address is known, as in tests
	}
	return prefix
}

// Address is that of the client of a connection, as net/http and package net write
// it; it is not valid if it can't be read.
func Address(remote string) netip.Addr {
	address, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap().WithZone("")
}

// Options are the bounds. Total and PerClient must be positive.
type Options struct {
	// Total is how many connections are served at a time. The next one waits until one
	// of them is closed, and those behind it in the kernel's queue, where they cost no
	// memory of ours.
	Total int
	// PerClient is how many of them one client may have. What comes of it beyond that is
	// accepted, so that those behind it in the queue get their turn, and waits unread
	// until one of its own is closed: there may be many behind an address, and none of
	// them is to blame. As many as are served may wait; more are closed.
	PerClient int
	// Grace, if positive, is for how long a connection may show nothing while others
	// wait: then the oldest such is closed. One of a client with more of them than
	// the newcomer's has no grace.
	Grace time.Duration
}

// Listener is a net.Listener with bounds.
type Listener struct {
	net.Listener

	options Options
	slots   chan struct{}
	ready   chan *Conn // each has a slot, so there is room for it
	failed  chan error
	closed  chan struct{}
	begin   sync.Once
	end     sync.Once

	refused, evicted atomic.Int64

	mu      sync.Mutex
	clients map[netip.Prefix]*client
	conns   map[*Conn]struct{}
	parked  int
	leaving int // are evicted and not closed yet
	stopped bool
}

// client is one address or network. Its record lasts as long as it has connections.
type client struct {
	network netip.Prefix
	// open connections are served, or the next to be. unproven ones are served and have
	// not shown a good request.
	open, unproven int
	waiting        []net.Conn
}

// New bounds the connections of a listener.
func New(l net.Listener, o Options) *Listener {
	return &Listener{
		Listener: l, options: o,
		slots: make(chan struct{}, o.Total), ready: make(chan *Conn, o.Total),
		failed: make(chan error), closed: make(chan struct{}),
		clients: map[netip.Prefix]*client{}, conns: map[*Conn]struct{}{},
	}
}

// Open is how many connections are served.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Waiting is how many connections wait for others of their client to be closed.
func (l *Listener) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parked
}

// Refused is how many connections were closed at once, because too many waited.
func (l *Listener) Refused() int64 { return l.refused.Load() }

// Evicted is how many connections were closed because others waited.
func (l *Listener) Evicted() int64 { return l.evicted.Load() }

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	l.begin.Do(func() { go l.acceptAll() })
	select {
	case conn := <-l.ready:
		return conn, nil
	case err := <-l.failed:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// acceptAll accepts one connection after the other until the listener is closed.
func (l *Listener) acceptAll() {
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			l.place(conn)
			continue
		}
		select {
		case l.failed <- err: // the server decides whether to go on
		case <-l.closed:
			return
		}
	}
}

// place has a connection served when there is a slot, or lets it wait for others of
// its client.
func (l *Listener) place(conn net.Conn) {
	of, mayBeServed := l.enter(conn)
	if !mayBeServed {
		return
	}
	taken := l.takeSlot(of)
	l.mu.Lock()
	defer l.mu.Unlock()
	if taken && !l.stopped {
		l.serve(conn, of)
		return
	}
	_ = conn.Close() // nothing was said that could be lost
	of.open--
	l.forget(of)
}

// enter counts a connection as its client's. The client may have too many already.
func (l *Listener) enter(conn net.Conn) (_ *client, mayBeServed bool) {
	network := Network(Address(conn.RemoteAddr().String()))
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.clients[network]
	if of == nil {
		of = &client{network: network}
		l.clients[network] = of
	}
	if of.open < l.options.PerClient && !l.stopped {
		of.open++
		return of, true
	}
	if l.parked == l.options.Total || l.stopped {
		l.refused.Add(1)
		_ = conn.Close() // nothing was said that could be lost
		l.forget(of)
		return nil, false
	}
	of.waiting = append(of.waiting, conn)
	l.parked++
	if l.options.Grace > 0 {
		// The same client's others had their time when this one has waited so long.
		time.AfterFunc(l.options.Grace, func() { l.makeRoomOf(of) })
	}
	return nil, false
}

// serve hands a connection that has a slot to Accept. l.mu is held.
func (l *Listener) serve(conn net.Conn, of *client) {
	c := &Conn{Conn: conn, listener: l, client: of, since: time.Now()}
	of.unproven++
	l.conns[c] = struct{}{}
	l.ready <- c
}

// leave gives the slot of a connection to the client's next, or free.
func (l *Listener) leave(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := c.client
	delete(l.conns, c)
	if !c.proven.Load() {
		of.unproven--
	}
	if c.evicted {
		l.leaving--
	}
	if len(of.waiting) > 0 {
		next := of.waiting[0]
		of.waiting = of.waiting[1:]
		l.parked--
		l.serve(next, of)
		return
	}
	of.open--
	l.forget(of)
	<-l.slots
}

// forget drops the record of a client without connections. l.mu is held.
func (l *Listener) forget(of *client) {
	if of.open == 0 && len(of.waiting) == 0 {
		delete(l.clients, of.network)
	}
}

// Close implements net.Listener. Connections that wait are closed.
func (l *Listener) Close() error {
	err := l.Listener.Close()
	l.end.Do(func() {
		close(l.closed)
		l.mu.Lock()
		l.stopped = true
		for _, of := range l.clients {
			for _, conn := range of.waiting {
				_ = conn.Close()
			}
			of.waiting = nil
		}
		l.parked = 0
		l.mu.Unlock()
		for len(l.ready) > 0 {
			_ = (<-l.ready).Close()
		}
	})
	return err
}
