// Package stand serves where pods expect a gateway, or a gateway expects an API
// server, in ways in which neither should. It needs a machine of test/machine
// around it.
package stand

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/machine"
	"github.com/gatepass/gatepass/test/pki"
)

// Server is a server of the test's own, until the test ends.
type Server struct {
	// URL is its address, which pods reach.
	URL string
	// CA is what clients are told to trust, as PEM.
	CA []byte
}

// Handle serves with a certificate that is as it should be.
func Handle(t testing.TB, handler http.HandlerFunc) Server {
	t.Helper()
	ca := Authority(t, "stand")
	pair, err := ca.Server(machine.NodeAddress)
	if err != nil {
		t.Fatal(err)
	}
	return Serve(t, ca.PEM(), pair, handler)
}

// Authority makes one.
func Authority(t testing.TB, name string) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// Serve serves with a certificate, and has clients trust an authority, which
// need not be that of the certificate.
func Serve(t testing.TB, ca []byte, pair pki.Pair, handler http.HandlerFunc) Server {
	t.Helper()
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Minute,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ErrorLog:          log.New(io.Discard, "", 0), // failed handshakes are what some rows want
	}
	listener := listen(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ServeTLS(listener, "", "")
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return Server{"https://" + listener.Addr().String(), ca}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", net.JoinHostPort(machine.NodeAddress, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// Silent accepts connections, by way of the kernel, and never says a word.
func Silent(t testing.TB) Server {
	t.Helper()
	return Server{"https://" + listen(t).Addr().String(), Authority(t, "stand").PEM()}
}

// Hang reads requests and never answers.
func Hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// Unavailable is what proxies answer for servers that are not there.
func Unavailable(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "no server is available to handle this request", http.StatusServiceUnavailable)
}

// Proxy hands requests to another server.
func Proxy(t testing.TB, to string, transport http.RoundTripper) http.HandlerFunc {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return (&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization") // the transport's counts
		},
	}).ServeHTTP
}
