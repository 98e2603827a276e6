package gateway

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// boundListener has so many connections open at a time. The next ones wait in the
// kernel's queue, where they cost no memory of ours.
//
// One client may have only a part of them. What comes of it beyond that is accepted,
// so that those behind it in the queue get their turn, and waits unread until one of
// its own is closed: there may be many behind an address, and none of them is to blame.
type boundListener struct {
	net.Listener
	slots  chan struct{}
	ready  chan *boundConn // each has a slot, so there is room for it
	failed chan error
	closed chan struct{}
	begin  sync.Once
	end    sync.Once
	open   atomic.Int64

	each    int // of a client
	mu      sync.Mutex
	clients map[netip.Prefix]*connected
	parked  int
	turned  atomic.Int64 // away
	stopped bool
}

// connected are the connections of one client: how many are open, and which wait.
type connected struct {
	open    int
	waiting []net.Conn
}

// newBoundListener bounds the connections, and those of each client. As many as may
// be open may wait.
func newBoundListener(l net.Listener, connections, each int) *boundListener {
	return &boundListener{
		Listener: l, slots: make(chan struct{}, connections), ready: make(chan *boundConn, connections),
		failed: make(chan error), closed: make(chan struct{}),
		each: each, clients: map[netip.Prefix]*connected{},
	}
}

// Accept implements net.Listener.
func (l *boundListener) Accept() (net.Conn, error) {
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

// acceptAll accepts whenever there is a slot, until the listener is closed.
func (l *boundListener) acceptAll() {
	for {
		select {
		case l.slots <- struct{}{}:
		case <-l.closed:
			return
		}
		for placed := false; !placed; {
			conn, err := l.Listener.Accept()
			if err == nil {
				placed = l.place(conn)
				continue
			}
			select {
			case l.failed <- err: // the server decides whether to go on
			case <-l.closed:
				return
			}
		}
	}
}

// place serves a connection, which takes the slot, or lets it wait.
func (l *boundListener) place(conn net.Conn) (served bool) {
	client := networkOf(addressOf(conn.RemoteAddr().String()))
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.clients[client]
	if of == nil {
		of = &connected{}
		l.clients[client] = of
	}
	switch {
	case of.open < l.each && !l.stopped:
		of.open++
		l.serve(conn, client)
		return true
	case l.parked == cap(l.slots) || l.stopped:
		l.turned.Add(1)
		_ = conn.Close() // nothing was said that could be lost
	default:
		of.waiting = append(of.waiting, conn)
		l.parked++
	}
	return false
}

// serve hands a connection that has a slot to Accept. l.mu is held.
func (l *boundListener) serve(conn net.Conn, client netip.Prefix) {
	l.open.Add(1)
	l.ready <- &boundConn{Conn: conn, release: sync.OnceFunc(func() { l.leave(client) })}
}

// leave gives the slot of a connection to the client's next, or free.
func (l *boundListener) leave(client netip.Prefix) {
	l.open.Add(-1)
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.clients[client]
	if len(of.waiting) > 0 {
		next := of.waiting[0]
		of.waiting = of.waiting[1:]
		l.parked--
		l.serve(next, client)
		return
	}
	if of.open--; of.open == 0 {
		delete(l.clients, client)
	}
	<-l.slots
}

// waiting is how many connections wait for others of their client to be closed.
func (l *boundListener) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parked
}

// Close implements net.Listener. Connections that wait are closed.
func (l *boundListener) Close() error {
	err := l.Listener.Close()
	l.end.Do(func() {
		close(l.closed)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stopped = true
		for _, of := range l.clients {
			for _, conn := range of.waiting {
				_ = conn.Close()
			}
			of.waiting = nil
		}
		l.parked = 0
		for len(l.ready) > 0 {
			_ = (<-l.ready).Conn.Close()
		}
	})
	return err
}

// boundConn gives its place up when it is closed.
type boundConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *boundConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
