package review

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

const (
	// idleConnections is how many connections to the API server are kept. It is
	// no limit on how many are made: the gateway bounds its logins.
	idleConnections = 256

	// caInterval is how often the CA file is looked at. A cluster's CA is
	// rotated over days, with both in the bundle.
	caInterval = time.Minute
)

// transport is an http.Transport that follows its CA file.
//
// It speaks HTTP/1.1. With 32 logins at a time HTTP/2 is no faster (test/gateway
// has the benchmark), and it would put all reviews on one connection: to one
// API server of several, and lost together when that connection breaks.
type transport struct {
	caFile string

	mu      sync.Mutex
	current *http.Transport
	ca      []byte
	checked time.Time
}

func newTransport(config *rest.Config) (*transport, error) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("TLS configuration: %w", err)
	}
	if tlsConfig == nil {
		tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	tlsConfig.NextProtos = []string{"http/1.1"}
	proxy := http.ProxyFromEnvironment
	if config.Proxy != nil {
		proxy = config.Proxy
	}
	dial := (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	if config.Dial != nil {
		dial = config.Dial
	}
	t := &transport{
		checked: time.Now(),
		current: &http.Transport{
			Proxy:                 proxy,
			DialContext:           dial,
			TLSClientConfig:       tlsConfig,
			TLSHandshakeTimeout:   5 * time.Second,
			MaxIdleConnsPerHost:   idleConnections,
			IdleConnTimeout:       90 * time.Second,
			ExpectContinueTimeout: time.Second,
			DisableCompression:    true, // an answer is a kilobyte
			TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
		},
	}
	if len(config.CAData) == 0 && config.CAFile != "" {
		t.caFile = config.CAFile
		t.ca, err = os.ReadFile(config.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the API server's CA: %w", err)
		}
	}
	return t, nil
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

// latest returns the transport that trusts the CA file's present content.
func (t *transport) latest() *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.caFile == "" || time.Since(t.checked) < caInterval {
		return t.current
	}
	t.checked = time.Now()
	// A file that can't be read or holds no certificate is one that is being
	// replaced, or a mistake that must not end a working connection.
	ca, err := os.ReadFile(t.caFile)
	if err != nil || bytes.Equal(ca, t.ca) {
		return t.current
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return t.current
	}
	old := t.current
	t.current = old.Clone()
	t.current.TLSClientConfig.RootCAs = pool
	t.ca = ca
	old.CloseIdleConnections()
	return t.current
}

// suspect makes the next request look at the CA file again.
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
