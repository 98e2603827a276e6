package review

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/gateway/review/exchange"
)

const (
	// idleConnections is how many connections through a proxy are kept. It is
	// no limit on how many are made: the gateway bounds its logins.
	idleConnections = 256

	// fileInterval is how often the CA file and the client certificate are looked
	// at. A cluster's CA is rotated over days, with both in the bundle, and a
	// certificate well before it expires.
	fileInterval = time.Minute
)

// transport has connections to an API server that follow the CA file and the client
// certificate. Both belong to connections, so a change of one means new ones:
// a busy connection would go on with the old certificate until the API server
// does not accept that any more.
//
// It speaks HTTP/1.1. With 32 logins at a time HTTP/2 is no faster (test/gateway
// has the benchmark), and it would put all reviews on one connection: to one
// API server of several, and lost together when that connection breaks.
type transport struct {
	caFile            string // empty if the CA is not a file's
	certFile, keyFile string // empty if there is no client certificate in files
	// open makes connections by a TLS configuration.
	open func(*tls.Config) (connections, error)

	mu            sync.Mutex
	tls           *tls.Config
	current       connections
	ca, cert, key []byte
	checked       time.Time
}

// connections are an exchange.Pool, or an http.Transport.
type connections interface {
	http.RoundTripper
	CloseIdleConnections()
}

func newTransport(config *rest.Config, server *url.URL) (*transport, error) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("TLS configuration: %w", err)
	}
	if tlsConfig == nil {
		tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	open, err := opener(config, server)
	if err != nil {
		return nil, err
	}
	t := &transport{checked: time.Now(), tls: tlsConfig, open: open}
	if err := t.readFiles(config); err != nil {
		return nil, err
	}
	t.current, err = open(t.tls)
	return t, err
}

// opener decides what connects to the server.
func opener(config *rest.Config, server *url.URL) (func(*tls.Config) (connections, error), error) {
	dial := (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	if config.Dial != nil {
		dial = config.Dial
	}
	proxy := http.ProxyFromEnvironment
	if config.Proxy != nil {
		proxy = config.Proxy
	}
	by, err := proxy(&http.Request{Method: http.MethodPost, URL: server})
	if err != nil {
		return nil, fmt.Errorf("find the proxy: %w", err)
	}
	if by != nil {
		return func(tlsConfig *tls.Config) (connections, error) { return proxied(proxy, dial, tlsConfig), nil }, nil
	}
	port := server.Port()
	if port == "" {
		port = "443"
	}
	return func(tlsConfig *tls.Config) (connections, error) {
		tlsConfig = tlsConfig.Clone()
		if tlsConfig.ServerName == "" {
			tlsConfig.ServerName = server.Hostname()
		}
		return exchange.New(exchange.Options{ //nolint:wrapcheck // it is the connection
			Address: net.JoinHostPort(server.Hostname(), port), Dial: dial, TLS: tlsConfig, MaxAnswer: maxAnswer,
		})
	}, nil
}

// proxied connects through a proxy, which is what net/http's Transport knows how to do.
func proxied(proxy func(*http.Request) (*url.URL, error), dial func(context.Context, string, string) (net.Conn, error), tlsConfig *tls.Config) *http.Transport {
	tlsConfig = tlsConfig.Clone()
	tlsConfig.NextProtos = []string{"http/1.1"}
	return &http.Transport{
		Proxy:               proxy,
		DialContext:         dial,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // an answer is a kilobyte
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// readFiles reads the CA and the client certificate for the first time.
func (t *transport) readFiles(config *rest.Config) error {
	if len(config.CAData) == 0 && config.CAFile != "" {
		t.caFile = config.CAFile
		pool, err := t.readCA()
		if err != nil {
			return fmt.Errorf("read the API server's CA: %w", err)
		}
		t.tls.RootCAs = pool // what TLSConfigFor has read may be older than this
	}
	if len(config.CertData) > 0 || config.CertFile == "" || config.KeyFile == "" {
		return nil
	}
	t.certFile, t.keyFile = config.CertFile, config.KeyFile
	pair, err := t.readPair()
	if err != nil {
		return fmt.Errorf("read the client certificate: %w", err)
	}
	present(t.tls, pair)
	return nil
}

// present makes connections use a client certificate.
func present(config *tls.Config, pair *tls.Certificate) {
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
}

// readCA reads the CA. The result is nil if the file has not changed.
func (t *transport) readCA() (*x509.CertPool, error) {
	ca, err := os.ReadFile(t.caFile)
	if err != nil {
		return nil, err
	}
	if t.ca != nil && bytes.Equal(ca, t.ca) {
		return nil, nil //nolint:nilnil // no change is not an error
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("no certificate is in %s", t.caFile)
	}
	t.ca = ca
	return pool, nil
}

// readPair reads the client certificate. The result is nil if the files have
// not changed.
func (t *transport) readPair() (*tls.Certificate, error) {
	cert, certErr := os.ReadFile(t.certFile)
	key, keyErr := os.ReadFile(t.keyFile)
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, err
	}
	if t.cert != nil && bytes.Equal(cert, t.cert) && bytes.Equal(key, t.key) {
		return nil, nil //nolint:nilnil // no change is not an error
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	t.cert, t.key = cert, key
	return &pair, nil
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.latest().RoundTrip(req)
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		t.suspect()
	}
	return res, err
}

// latest returns connections that go by the files' present content.
func (t *transport) latest() connections {
	t.mu.Lock()
	defer t.mu.Unlock()
	if (t.caFile == "" && t.certFile == "") || time.Since(t.checked) < fileInterval {
		return t.current
	}
	t.checked = time.Now()
	pool, pair := t.changed()
	if pool == nil && pair == nil {
		return t.current
	}
	config := t.tls.Clone()
	if pool != nil {
		config.RootCAs = pool
	}
	if pair != nil {
		present(config, pair)
	}
	fresh, err := t.open(config)
	if err != nil { // it was possible with the configuration before
		return t.current
	}
	old := t.current
	t.tls, t.current = config, fresh
	old.CloseIdleConnections() // and those in use when they become idle
	return t.current
}

// changed returns what is new in the files. One that can't be read, and a
// certificate without its key, are being replaced, or a mistake that must not
// end a working connection.
func (t *transport) changed() (pool *x509.CertPool, pair *tls.Certificate) {
	if t.caFile != "" {
		if fresh, err := t.readCA(); err == nil {
			pool = fresh
		}
	}
	if t.certFile != "" {
		if fresh, err := t.readPair(); err == nil {
			pair = fresh
		}
	}
	return pool, pair
}

// suspect makes the next request look at the files again.
func (t *transport) suspect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.checked) > time.Second { // not for every one of many failures
		t.checked = time.Time{}
	}
}

func (t *transport) closeIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current.CloseIdleConnections()
}
