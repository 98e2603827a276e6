package webhook

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

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/internal/clientca"
	readinesslog "github.com/gatepass/gatepass/internal/readiness"
)

// Path is where the API server posts AdmissionReviews.
const Path = "/mutate"

// Certificate supplies the serving certificate, which may change at any time.
type Certificate interface {
	// GetCertificate is that of tls.Config.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Ready returns nil when a certificate that is valid now is being served.
	Ready() error
	// NotAfter is the end of the served certificate, zero if there is none.
	NotAfter() time.Time
}

// Options describe a Server. All fields are required but BindAddress and
// those with a default.
type Options struct {
	// ConfigFile holds the profiles. It is read again when it changes.
	ConfigFile  string
	Certificate Certificate
	// BindAddress is the host part of the admission address; "" is all.
	BindAddress string
	Port        int
	// MaxConnections is how many connections are served at a time. Zero means the default.
	MaxConnections int
	// MaxClientConnections is how many of them one address may have, of IPv6 one network
	// of 64 bits. Zero means three quarters.
	MaxClientConnections int
	// ClientCAs, if set, refuse whoever has no certificate of one of them in the TLS
	// handshake.
	ClientCAs *clientca.CAs
	// MetricsAddress and ProbeAddress are host:port, or "0" to serve none.
	MetricsAddress string
	ProbeAddress   string
	// ShutdownDelay is for how long admissions are still answered after the
	// end was asked for, while the cluster learns that this replica goes.
	ShutdownDelay time.Duration
	Logger        *slog.Logger
}

// Server is the admission webhook.
type Server struct {
	options  Options
	profiles *profiles
	metrics  *metrics
	handler  *handler
	ready    readiness
	// listening is set when admissions are answered.
	listening atomic.Bool
}

// New returns a Server and reads its configuration. A broken configuration is
// no error: it is logged, the server is not ready, and it waits for a better one.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	m := newMetrics(o.Certificate.NotAfter)
	p := &profiles{file: o.ConfigFile, log: o.Logger, metrics: m}
	p.load()
	s := &Server{options: o, profiles: p, metrics: m}
	s.handler = newHandler(p.current, &s.ready.draining, m, o.Logger)
	m.bodies(s.handler.intake.bodies)
	s.ready.log = readinesslog.NewLog(o.Logger)
	s.ready.checks = []check{
		{"config", p.ready},
		{"certificate", o.Certificate.Ready},
		{"admission", s.admissionReady},
	}
	return s, nil
}

func (s *Server) admissionReady() error {
	if !s.listening.Load() {
		return errors.New("the port is not open yet")
	}
	return nil
}

// CertificateChanged counts a change of the serving certificate that was taken
// over (nil), or the reason why one was not.
func (s *Server) CertificateChanged(err error) { s.metrics.certificateChanged(err) }

// validate reports what a caller forgot.
func (o *Options) validate() error {
	switch {
	case o.ConfigFile == "":
		return errors.New("webhook: no configuration file is given")
	case o.Certificate == nil:
		return errors.New("webhook: no serving certificate is given")
	case o.Logger == nil:
		return errors.New("webhook: no logger is given")
	case o.Port < 1 || o.Port > 65535:
		return fmt.Errorf("webhook: port %d is not between 1 and 65535", o.Port)
	case o.MaxConnections < 0 || o.MaxClientConnections < 0:
		return errors.New("webhook: a number of connections is negative")
	}
	return nil
}

// Run serves until ctx is done, then drains: it is not ready any more, goes on
// answering for the shutdown delay, and finishes what is in flight. It returns
// nil after an orderly end.
func (s *Server) Run(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group.Go(func() error {
		<-groupCtx.Done()
		s.ready.drain()
		if ctx.Err() != nil { // asked to stop, and not failed
			s.options.Logger.Info("draining", "delay", s.options.ShutdownDelay.String())
			<-time.After(s.options.ShutdownDelay)
		}
		stop()
		return nil
	})
	group.Go(func() error { s.profiles.watch(groupCtx); return nil })
	if s.options.ClientCAs != nil {
		group.Go(func() error { return s.options.ClientCAs.Follow(serving) })
	}
	group.Go(func() error {
		if err := s.admit(serving); err != nil {
			return fmt.Errorf("serving admissions: %w", err)
		}
		return nil
	})
	metrics := http.NewServeMux()
	metrics.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	group.Go(func() error { return listen(serving, "metrics", s.options.MetricsAddress, metrics) })
	group.Go(func() error { return listen(serving, "probes", s.options.ProbeAddress, s.ready.mux()) })
	return group.Wait()
}

// drainTimeout is how long metrics and probes may take after the end.
const drainTimeout = 5 * time.Second

// listen serves plain HTTP until ctx is done.
func listen(ctx context.Context, what, address string, handler http.Handler) error {
	if address == "0" {
		return nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening for %s: %w", what, err)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	if err := untilDone(ctx, server, drainTimeout, func() error { return server.Serve(listener) }); err != nil {
		return fmt.Errorf("serving %s: %w", what, err)
	}
	return nil
}

// untilDone runs a server until ctx is done, and lets the requests under way end.
func untilDone(ctx context.Context, server *http.Server, drain time.Duration, serve func() error) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if server.Shutdown(bounded) != nil {
			_ = server.Close() // whoever still reads an answer has had its time
		}
	}()
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-done
	return nil
}
