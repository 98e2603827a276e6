package webhook

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/internal/clientca"
	"github.com/gatepass/gatepass/internal/connlimit"
	"github.com/gatepass/gatepass/internal/serverlog"
)

// DefaultMaxConnections bounds the connections to the admission port. An API server
// has as many as reviews are under way, 200 at most unless its
// --max-mutating-requests-inflight says otherwise, and keeps 25 of them (MaxIdleConnsPerHost
// of k8s.io/apimachinery/pkg/util/net): this has room for those of several, also where all
// of them come from one address.
const DefaultMaxConnections = 512

const (
	// readTimeout also bounds the TLS handshake. It and writeTimeout bound requests that the
	// handler does not bound itself.
	readTimeout  = 15 * time.Second
	writeTimeout = 30 * time.Second
	// idleTimeout is longer than the 90 s for which API servers keep a connection
	// (IdleConnTimeout of k8s.io/apimachinery/pkg/util/net), so that none is closed that is
	// about to be used. Who never sent a review does not stay that long, see package connlimit.
	idleTimeout = 120 * time.Second
	// readHeaderTimeout is as long, because API servers also keep connections that they have
	// not used yet: net/http's client opens one for a request that may then take another.
	// One that is closed while a review is on its way refuses that pod.
	readHeaderTimeout = idleTimeout
	// maxHeaderBytes has room for a client that has much to say about a trace.
	maxHeaderBytes = 16 << 10
	// strangerGrace is for how long a connection may send no review while others wait for
	// its place.
	strangerGrace = time.Second
	// admissionDrain is how long reviews under way may take after the end: a body and an
	// answer. With the shutdown delay it fits in a pod's termination grace period.
	admissionDrain = 2 * defaultTimeout
)

// admit serves admissions until ctx is done.
func (s *Server) admit(ctx context.Context) error {
	var config net.ListenConfig
	inner, err := config.Listen(ctx, "tcp", net.JoinHostPort(s.options.BindAddress, strconv.Itoa(s.options.Port)))
	if err != nil {
		return err //nolint:wrapcheck // Run says what it is about
	}
	total, each := s.options.MaxConnections, s.options.MaxClientConnections
	if total == 0 {
		total = DefaultMaxConnections
	}
	if each == 0 {
		each = max(1, total*3/4)
	}
	listener := connlimit.New(inner, connlimit.Options{Total: total, PerClient: each, Grace: strangerGrace})
	s.metrics.connections(listener)
	s.listening.Store(true)
	server := s.admissionServer()
	return untilDone(ctx, server, admissionDrain, func() error {
		if err := server.ServeTLS(listener, "", ""); err != nil {
			return fmt.Errorf("port %d: %w", s.options.Port, err)
		}
		return nil
	})
}

func (s *Server) admissionServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle(Path, s.handler)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.options.Certificate.GetCertificate},
		ErrorLog:          serverlog.New(s.options.Logger),
		ConnContext:       connlimit.ConnContext,
		ConnState:         connlimit.ConnState,
		Protocols:         new(http.Protocols),
	}
	// HTTP/1.1 only: one request at a time a connection is what makes a bound on
	// connections one on memory. API servers ask webhooks for no other version, so that their
	// reviews are spread over replicas (k8s.io/apiserver/pkg/util/webhook/client.go).
	server.Protocols.SetHTTP1(true)
	if s.options.ClientCAs != nil {
		server.TLSConfig = s.options.ClientCAs.Admit(server.TLSConfig, clientca.Required, nil)
	}
	return server
}
