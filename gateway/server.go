package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/internal/clientca"
	"github.com/gatepass/gatepass/internal/connlimit"
	"github.com/gatepass/gatepass/internal/readiness"
	"github.com/gatepass/gatepass/internal/serverlog"
)

// Timeouts of the servers. A login's body has two kilobytes, and its answer
// comes within loginTimeout.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = readTimeout + loginTimeout + 6*time.Second
	// idleTimeout is short because idle connections count as well.
	idleTimeout    = 30 * time.Second
	maxHeaderBytes = 16 << 10

	// drainTimeout bounds how long requests under way may take after the
	// shutdown delay. Together with that they must fit in a pod's termination
	// grace period, 30 s by default.
	drainTimeout = loginTimeout + 4*time.Second
)

// DefaultMaxConnections bounds the connections to the API, and with them the
// memory that strangers can take: a connection of ours costs some 80 KB, and a
// body and headers of the largest size as much again.
const DefaultMaxConnections = 512

// CertificateSource provides the certificate to serve with, anew for each
// handshake, so that a renewed one needs no restart.
type CertificateSource interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Ready is nil only when a certificate that is valid now is being served.
	Ready() error
}

// ServerOptions configure a Server. The server closes the listeners.
type ServerOptions struct {
	// API is served with TLS on APIListener.
	API          http.Handler
	APIListener  net.Listener
	Certificates CertificateSource
	// MaxConnections is how many connections to the API are served at a time;
	// more wait to be accepted. Zero means the default.
	MaxConnections int
	// MaxClientConnections is how many of them one address may have, of IPv6 one
	// network of 64 bits; more wait for these to be closed. Zero means three quarters,
	// so that no client takes all of them.
	MaxClientConnections int
	// Registry, if set, gets the metrics of the server itself.
	Registry prometheus.Registerer
	// Metrics, if set, is served as /metrics on MetricsListener.
	Metrics         http.Handler
	MetricsListener net.Listener
	// ProfileListener, if set, serves profiles (net/http/pprof) without TLS, to
	// whoever can reach it.
	ProfileListener net.Listener
	// ClientCAs, if set, verify the certificates of those who connect to the API.
	// ClientCertificates is what they are to present.
	ClientCAs          *clientca.CAs
	ClientCertificates clientca.Demand
	// HealthListener, if set, answers /healthz and /readyz without TLS.
	HealthListener net.Listener
	// Ready is what readiness depends on besides the certificate.
	Ready func() error
	// ShutdownDelay is how long the server goes on after it was told to stop:
	// the time until every node has taken it off its list of endpoints.
	ShutdownDelay time.Duration
	Logger        *slog.Logger
}

// Server runs the gateway's listeners.
type Server struct {
	options   ServerOptions
	listener  *connlimit.Listener // of the API
	draining  atomic.Bool
	readiness *readiness.Log
	// certified counts the connections to the API with a client certificate, and
	// uncertified those without.
	certified, uncertified atomic.Int64
}

// NewServer makes a server; Run starts it.
func NewServer(o ServerOptions) (*Server, error) {
	if o.ClientCAs != nil && o.ClientCertificates != clientca.Optional && o.ClientCertificates != clientca.Required {
		return nil, errors.New("gateway: ClientCertificates must be set with ClientCAs")
	}
	if o.API == nil || o.APIListener == nil || o.Certificates == nil || o.Ready == nil || o.Logger == nil {
		return nil, errors.New("gateway: API, APIListener, Certificates, Ready and Logger must be set")
	}
	connections := orDefault(o.MaxConnections, DefaultMaxConnections)
	each := orDefault(o.MaxClientConnections, max(1, connections*3/4))
	s := &Server{options: o, readiness: readiness.NewLog(o.Logger)}
	s.listener = connlimit.New(o.APIListener, connlimit.Options{Total: connections, PerClient: each})
	if o.Registry == nil {
		return s, nil
	}
	if err := s.register(o.Registry); err != nil {
		return nil, fmt.Errorf("register the server's metrics: %w", err)
	}
	return s, nil
}

// admitted counts a connection.
func (s *Server) admitted(hasCertificate bool) {
	if hasCertificate {
		s.certified.Add(1)
	} else {
		s.uncertified.Add(1)
	}
}

func (s *Server) register(registry prometheus.Registerer) error {
	var errs []error
	for has, counted := range map[string]*atomic.Int64{"verified": &s.certified, "none": &s.uncertified} {
		if s.options.ClientCAs == nil {
			break
		}
		errs = append(errs, registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "gatepass_gateway_client_certificates_total",
			Help:        "Connections to the API, by whether the client presented a certificate (verified, none). Those with a bad one are refused and not counted.",
			ConstLabels: prometheus.Labels{"certificate": has},
		}, func() float64 { return float64(counted.Load()) })))
	}
	return errors.Join(append(errs,
		registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatepass_gateway_connections",
			Help: "Connections to the API that are served. Those beyond the limit wait to be accepted and are not counted.",
		}, func() float64 { return float64(s.listener.Open()) })),
		registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatepass_gateway_connections_waiting",
			Help: "Connections to the API that wait for others of the same client to be closed.",
		}, func() float64 { return float64(s.listener.Waiting()) })),
		registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatepass_gateway_connections_refused_total",
			Help: "Connections to the API that were closed at once, because too many wait for others of their client.",
		}, func() float64 { return float64(s.listener.Refused()) })),
	)...)
}

// errDraining makes a server that is about to stop not ready.
var errDraining = errors.New("shutting down")

// Ready is nil when requests should come here.
func (s *Server) Ready() error {
	if s.draining.Load() {
		return errDraining
	}
	if err := s.options.Certificates.Ready(); err != nil {
		return err
	}
	return s.options.Ready()
}

// Run serves until ctx is done, then goes on for the shutdown delay, lets the
// requests under way end, and returns nil. It returns early if a listener fails.
func (s *Server) Run(ctx context.Context) error {
	o := &s.options
	api := s.server(o.API)
	api.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: o.Certificates.GetCertificate}
	// Records that begin with a packet's size and grow are for long answers, whose
	// readers begin with what has come. The first session over a connection, mostly the
	// only one, would go out in two, each with a system call of its own.
	api.TLSConfig.DynamicRecordSizingDisabled = true
	if o.ClientCAs != nil {
		api.TLSConfig = o.ClientCAs.Admit(api.TLSConfig, o.ClientCertificates, s.admitted)
	}
	// HTTP/1.1 only: one request at a time a connection is what makes a bound on
	// connections one on memory, and callers have one request to make.
	api.Protocols = new(http.Protocols)
	api.Protocols.SetHTTP1(true)
	servers := []*http.Server{api}
	group, failed := errgroup.WithContext(ctx)
	start := func(what string, serve func() error) {
		group.Go(func() error {
			if err := serve(); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", what, err)
			}
			return nil
		})
	}
	start("the API", func() error { return api.ServeTLS(s.listener, "", "") })
	if o.MetricsListener != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", o.Metrics)
		metrics := s.server(mux)
		servers = append(servers, metrics)
		start("metrics", func() error { return metrics.Serve(o.MetricsListener) })
	}
	if o.HealthListener != nil {
		health := s.server(s.health())
		servers = append(servers, health)
		start("health probes", func() error { return health.Serve(o.HealthListener) })
	}
	if o.ProfileListener != nil {
		profiles := s.profiles()
		servers = append(servers, profiles)
		start("profiles", func() error { return profiles.Serve(o.ProfileListener) })
	}
	group.Go(func() error {
		<-failed.Done()
		return s.stop(ctx, servers)
	})
	return group.Wait()
}

// stop drains the API first; metrics and probes answer until the end.
func (s *Server) stop(ctx context.Context, servers []*http.Server) error {
	s.draining.Store(true)
	if ctx.Err() != nil { // told to stop, rather than broken
		s.options.Logger.Info("shutting down", "delay", s.options.ShutdownDelay)
		time.Sleep(s.options.ShutdownDelay)
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	var errs []error
	for _, server := range servers {
		if err := server.Shutdown(bounded); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut off after %s: %w", drainTimeout, err), server.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Server) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          serverlog.New(s.options.Logger),
	}
}

func (s *Server) health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeRaw(w, http.StatusOK, []byte(`{"status":"ok"}`))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := s.Ready()
		if !errors.Is(err, errDraining) { // which is logged already
			s.readiness.Check(err) //nolint:contextcheck // what it logs is about the server, not about this request
		}
		if err != nil {
			writeRefusal(w, refuse(http.StatusServiceUnavailable, "not ready: %s", readiness.Text(err)))
			return
		}
		writeRaw(w, http.StatusOK, []byte(`{"status":"ok"}`))
	})
	return mux
}
