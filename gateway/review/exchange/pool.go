// Package exchange sends small HTTP/1.1 requests to one server over TLS
// connections that it keeps.
//
// It is for the one request in the path of a login. net/http's Transport has two
// goroutines for every connection, so that each request changes hands four times;
// here who asks writes and reads. Requests, answers and their grammar are
// net/http's, connections crypto/tls's. There is no proxy, redirect, cookie or
// compression.
package exchange

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// idleTimeout is below that of kube-apiserver, 90 s (k8s.io/apiserver,
	// pkg/server/secure_serving.go), so that connections end on our side.
	idleTimeout = time.Minute
	// maxIdle bounds the connections that are kept, not those that are made.
	maxIdle = 256
	// handshakeTimeout bounds a TLS handshake.
	handshakeTimeout = 5 * time.Second
)

// Options configure a Pool.
type Options struct {
	// Address is the server's, host:port.
	Address string
	// Dial makes a TCP connection. It must obey its context.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS must name the server to expect. A copy of it is used.
	TLS *tls.Config
	// MaxAnswer bounds the body of an answer, in bytes: of a longer one that many and
	// one more are returned.
	MaxAnswer int64
}

// Pool keeps connections to a server. It is an http.RoundTripper for requests to that
// server which may be sent twice: one that meets a connection which has just been
// closed goes out again. It is safe for concurrent use.
type Pool struct {
	address   string
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	tls       *tls.Config
	maxAnswer int64
	requests  sync.Pool // of *bytes.Buffer

	mu sync.Mutex
	// idle connections, the one used last at the end.
	idle   []*conn
	sweeps *time.Timer // set while there is one
	closed bool
}

// New makes a pool; it does not connect.
func New(o Options) (*Pool, error) {
	if o.Address == "" || o.Dial == nil || o.TLS == nil || o.TLS.ServerName == "" || o.MaxAnswer <= 0 {
		return nil, errors.New("exchange: Address, Dial, TLS with a server name, and MaxAnswer must be set")
	}
	config := o.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	// A request fits in one record, and is written with one system call.
	config.DynamicRecordSizingDisabled = true
	return &Pool{
		address: o.Address, dial: o.Dial, tls: config, maxAnswer: o.MaxAnswer,
		requests: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}, nil
}

// RoundTrip implements http.RoundTripper. The answer's body is in memory. It ends
// with the request's context, whose error it then returns.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	text, ok := p.requests.Get().(*bytes.Buffer)
	if !ok {
		text = new(bytes.Buffer)
	}
	defer func() {
		clear(text.Bytes()) // it has credentials
		text.Reset()
		p.requests.Put(text)
	}()
	if err := write(text, req); err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	ctx := req.Context()
	if kept := p.take(); kept != nil {
		res, err := p.over(ctx, kept, req, text.Bytes())
		var gone goneError
		if !errors.As(err, &gone) {
			return res, err
		}
	}
	fresh, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	return p.over(ctx, fresh, req, text.Bytes())
}

// write serialises a request, and closes its body.
func write(text *bytes.Buffer, req *http.Request) error {
	err := req.Write(text)
	if req.Body != nil {
		err = errors.Join(err, req.Body.Close())
	}
	return err //nolint:wrapcheck // RoundTrip wraps it
}

// over sends a request over a connection, which is kept if it can be.
func (p *Pool) over(ctx context.Context, c *conn, req *http.Request, text []byte) (*http.Response, error) {
	stop := context.AfterFunc(ctx, c.interrupt)
	res, reusable, err := c.exchange(req, text, p.maxAnswer)
	interrupted := !stop()
	// Whoever is not known by its certificate may have got another one since.
	stale := res != nil && res.StatusCode == http.StatusUnauthorized && p.tls.GetClientCertificate != nil
	if reusable && !interrupted && !stale {
		p.put(c)
	} else {
		c.close()
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return res, err
}

func (p *Pool) connect(ctx context.Context) (*conn, error) {
	plain, err := p.dial(ctx, "tcp", p.address)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the address
	}
	socket := newSocket(plain)
	stream := tls.Client(socket, p.tls)
	bounded, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := stream.HandshakeContext(bounded); err != nil {
		_ = plain.Close() // nothing is lost with it
		if ctx.Err() != nil {
			return nil, ctx.Err() //nolint:wrapcheck // the caller's own
		}
		if bounded.Err() != nil {
			return nil, fmt.Errorf("TLS handshake with %s: not done within %s", p.address, handshakeTimeout)
		}
		return nil, fmt.Errorf("TLS handshake with %s: %w", p.address, err)
	}
	return newConn(socket, stream), nil
}

// take returns a connection that was kept and is still good, or nil.
func (p *Pool) take() *conn {
	for {
		p.mu.Lock()
		last := len(p.idle) - 1
		if last < 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[last]
		p.idle[last] = nil
		p.idle = p.idle[:last]
		p.mu.Unlock()
		if time.Since(c.used) < idleTimeout && c.quiet() {
			return c
		}
		c.close()
	}
}

func (p *Pool) put(c *conn) {
	c.used = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) == maxIdle {
		c.close()
		return
	}
	p.idle = append(p.idle, c)
	if p.sweeps == nil {
		p.sweeps = time.AfterFunc(idleTimeout, p.sweep)
	}
}

// sweep closes connections that nobody has used for long, and comes again while there
// are others.
func (p *Pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.idle[:0]
	for _, c := range p.idle {
		if time.Since(c.used) < idleTimeout {
			kept = append(kept, c)
		} else {
			c.close()
		}
	}
	clear(p.idle[len(kept):])
	p.idle, p.sweeps = kept, nil
	if len(kept) > 0 {
		p.sweeps = time.AfterFunc(idleTimeout-time.Since(kept[0].used), p.sweep)
	}
}

// CloseIdleConnections closes the connections that are kept, and from now on keeps
// none.
func (p *Pool) CloseIdleConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.sweeps != nil {
		p.sweeps.Stop()
		p.sweeps = nil
	}
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
}
