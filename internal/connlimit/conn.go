package connlimit

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection that a Listener serves. It gives its place up when it is closed.
type Conn struct {
	net.Conn

	listener *Listener
	client   *client
	since    time.Time
	// idle is since when it has had no request, in nanoseconds since 1970; 0 if it has
	// one, or never had one.
	idle   atomic.Int64
	proven atomic.Bool
	left   sync.Once
	// evicted is guarded by the listener's lock.
	evicted bool
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	defer c.left.Do(func() { c.listener.leave(c) })
	return c.Conn.Close()
}

// prove notes that a good request came.
func (c *Conn) prove() {
	if c.proven.Load() {
		return
	}
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if _, served := c.listener.conns[c]; served && c.proven.CompareAndSwap(false, true) {
		c.client.unproven--
	}
}

// of finds our connection below TLS.
func of(conn net.Conn) (*Conn, bool) {
	if wrapped, ok := conn.(*tls.Conn); ok {
		conn = wrapped.NetConn()
	}
	c, ok := conn.(*Conn)
	return c, ok
}

// key is that of the connection in a request's context.
type key struct{}

// ConnContext is for http.Server.ConnContext: it lets requests know their connection.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := of(conn); ok {
		return context.WithValue(ctx, key{}, c)
	}
	return ctx
}

// Prove notes that a request of this context was a good one: as long as there are
// others, its connection is not closed for those who wait.
func Prove(ctx context.Context) {
	if c, ok := ctx.Value(key{}).(*Conn); ok {
		c.prove()
	}
}

// ConnState is for http.Server.ConnState.
func ConnState(conn net.Conn, state http.ConnState) {
	c, ok := of(conn)
	if !ok {
		return
	}
	switch state {
	case http.StateIdle:
		c.idle.Store(time.Now().UnixNano())
	case http.StateActive:
		c.idle.Store(0)
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}
