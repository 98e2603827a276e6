package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// proxy is an HTTP proxy that knows a few names, for a process that can't be
// given a hosts file of its own. TLS passes through it untouched.
type proxy struct {
	server   *http.Server
	listener net.Listener
	routes   map[string]string
	tunnels  sync.WaitGroup
}

// proxyTimeout bounds everything that goes through; a login is one request.
const proxyTimeout = 30 * time.Second

// startProxy serves CONNECT for the host:port pairs of routes only, each of
// which leads to another address.
func startProxy(ctx context.Context, routes map[string]string) (*proxy, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a proxy: %w", err)
	}
	p := &proxy{listener: l, routes: routes}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: proxyTimeout}
	go func() { _ = p.server.Serve(l) }()
	return p, nil
}

// URL is the value for HTTPS_PROXY.
func (p *proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Close ends the proxy and waits for its tunnels.
func (p *proxy) Close() error {
	err := p.server.Close()
	p.tunnels.Wait()
	return err
}

// ServeHTTP answers CONNECT.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address, known := p.routes[r.Host]
	if r.Method != http.MethodConnect || !known {
		http.Error(w, "this proxy leads to the demo's gateway only", http.StatusForbidden)
		return
	}
	dialer := net.Dialer{Timeout: proxyTimeout}
	server, err := dialer.DialContext(r.Context(), "tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		_ = server.Close()
		return
	}
	p.tunnels.Go(func() {
		err := tunnel(client, buffered, server)
		_ = errors.Join(err, client.Close(), server.Close()) // either side may be gone first
	})
}

// tunnel copies both ways until one side is done.
func tunnel(client net.Conn, fromClient io.Reader, server net.Conn) error {
	deadline := time.Now().Add(proxyTimeout)
	if err := errors.Join(client.SetDeadline(deadline), server.SetDeadline(deadline)); err != nil {
		return err
	}
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return err
	}
	done := make(chan error, 2)
	go func() {
		_, err := io.Copy(server, fromClient)
		done <- err
	}()
	go func() {
		_, err := io.Copy(client, server)
		done <- err
	}()
	return <-done
}
