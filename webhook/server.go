package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
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

// Options describe a Server. All fields but BindAddress are required.
type Options struct {
	// ConfigFile holds the profiles. It is read again when it changes.
	ConfigFile  string
	Certificate Certificate
	// BindAddress is the host part of the admission address; "" is all.
	BindAddress string
	Port        int
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
	mux      *http.ServeMux
	ready    readiness
}

// New returns a Server and reads its configuration. A broken configuration is
// no error: it is logged, the server is not ready, and it waits for a better one.
func New(o Options) (*Server, error) {
	switch {
	case o.ConfigFile == "":
		return nil, errors.New("no configuration file is given; use --config FILE")
	case o.Certificate == nil:
		return nil, errors.New("no serving certificate is given; use --cert-dir DIR or --self-managed-certs")
	case o.Logger == nil:
		return nil, errors.New("no logger is given")
	}
	m := newMetrics(o.Certificate.NotAfter)
	p := &profiles{file: o.ConfigFile, log: o.Logger, metrics: m}
	p.load()
	mux := http.NewServeMux()
	mux.Handle(Path, newHandler(p.current, m, o.Logger))
	s := &Server{options: o, profiles: p, metrics: m, mux: mux}
	s.ready.checks = []check{
		{"config", func() error {
			if p.current() == nil {
				return errors.New("no valid configuration has been loaded yet; see the log")
			}
			return nil
		}},
		{"certificate", o.Certificate.Ready},
	}
	return s, nil
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
			time.Sleep(s.options.ShutdownDelay)
		}
		stop()
		return nil
	})
	group.Go(func() error { s.profiles.watch(groupCtx); return nil })
	group.Go(func() error {
		// The server of controller-runtime needs neither manager nor kubeconfig.
		err := ctrlwebhook.NewServer(ctrlwebhook.Options{
			Host:       s.options.BindAddress,
			Port:       s.options.Port,
			WebhookMux: s.mux,
			TLSOpts: []func(*tls.Config){func(c *tls.Config) {
				c.MinVersion = tls.VersionTLS12
				c.GetCertificate = s.options.Certificate.GetCertificate
			}},
		}).Start(serving)
		if err != nil {
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
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		done <- server.Shutdown(bounded)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", what, err)
	}
	return <-done
}
