package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/certs"
	"github.com/gatepass/gatepass/cmd/internal/cluster"
	"github.com/gatepass/gatepass/internal/clientca"
	"github.com/gatepass/gatepass/webhook"
)

// flags are the command's, as they were given.
type flags struct {
	config        string
	certDir       string
	bindAddress   string
	port          int
	connections   int
	perClient     int
	clientCA      string
	metrics       string
	probes        string
	logLevel      string
	shutdownDelay time.Duration

	selfManaged          bool
	namespace            string
	caSecret             string
	webhookConfiguration string
	service              string
	kubeconfig           string
}

func newCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "gatepass-webhook --config FILE (--cert-dir DIR | --self-managed-certs)",
		Short: "Admission webhook that gives annotated pods a session",
		Long: `gatepass-webhook answers the AdmissionReviews of pods at ` + webhook.Path + `. Pods that
ask for a session get the agent and its volumes; pods that ask for one in a way
that can't be right are refused with the reason.

The configuration and the certificate are followed when they change. With
--cert-dir no access to the Kubernetes API is needed.`,
		Example: `  # certificates from cert-manager, mounted as files
  gatepass-webhook --config /etc/gatepass/config.yaml --cert-dir /etc/gatepass/tls

  # certificates managed by the webhook itself, in a cluster
  gatepass-webhook --config /etc/gatepass/config.yaml --self-managed-certs`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), &f) },
	}
	p := cmd.Flags()
	p.StringVar(&f.config, "config", "", "file with the profiles (InjectorConfig)")
	p.StringVar(&f.certDir, "cert-dir", "", "folder with tls.crt and tls.key")
	p.StringVar(&f.bindAddress, "bind-address", "", "address to serve admissions on; all if empty")
	p.IntVar(&f.port, "port", 9443, "port to serve admissions on")
	p.IntVar(&f.connections, "max-connections", webhook.DefaultMaxConnections, "how many connections to that port are served at a time; more wait")
	p.IntVar(&f.perClient, "max-client-connections", 0, "how many of them one address may have, of IPv6 one network of 64 bits; three quarters if 0")
	p.StringVar(&f.clientCA, "client-ca-file", "", "file with the CAs of API servers' client certificates (PEM), followed when it changes; whoever has none of theirs is refused. None are asked for if not given")
	p.StringVar(&f.metrics, "metrics-bind-address", ":8080", "host:port to serve /metrics on; 0 for none")
	p.StringVar(&f.probes, "health-probe-bind-address", ":8081", "host:port to serve /healthz and /readyz on; 0 for none")
	p.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	p.DurationVar(&f.shutdownDelay, "shutdown-delay", 5*time.Second, "how long to go on answering after SIGTERM")
	p.BoolVar(&f.selfManaged, "self-managed-certs", false, "issue and rotate the serving certificate with an authority kept in a Secret")
	p.StringVar(&f.namespace, "namespace", "", "namespace of the Secret and the Service; the pod's own if empty")
	p.StringVar(&f.caSecret, "ca-secret", "gatepass-webhook-ca", "Secret that holds the authority")
	p.StringVar(&f.webhookConfiguration, "webhook-configuration", "zz-gatepass", "MutatingWebhookConfiguration that gets the authority's certificate")
	p.StringVar(&f.service, "service", "gatepass-webhook", "Service that the API server calls")
	p.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig for --self-managed-certs outside of a cluster")
	return cmd
}

// servingCertificate is a certificate source that has to be run.
type servingCertificate interface {
	webhook.Certificate
	Start(context.Context) error
}

// validate reports everything that is wrong with the flags at once.
func (f *flags) validate() (slog.Level, error) {
	var errs []error
	level, err := config.ParseLogLevel(f.logLevel)
	if err != nil {
		errs = append(errs, fmt.Errorf("--log-level: %w", err))
	}
	if f.config == "" {
		errs = append(errs, errors.New("no configuration file is given; use --config FILE"))
	}
	switch {
	case f.certDir != "" && f.selfManaged:
		errs = append(errs, errors.New("--cert-dir and --self-managed-certs exclude each other; give one of them"))
	case f.certDir == "" && !f.selfManaged:
		errs = append(errs, errors.New("no serving certificate is given; use --cert-dir DIR or --self-managed-certs"))
	}
	if f.port < 1 || f.port > 65535 {
		errs = append(errs, fmt.Errorf("--port: %d is not between 1 and 65535", f.port))
	}
	if f.connections < 1 {
		errs = append(errs, fmt.Errorf("--max-connections: %d is not positive", f.connections))
	}
	if f.perClient < 0 || f.perClient > f.connections {
		errs = append(errs, fmt.Errorf("--max-client-connections: %d is not between 0 and --max-connections", f.perClient))
	}
	if f.shutdownDelay < 0 {
		errs = append(errs, fmt.Errorf("--shutdown-delay: %s is negative", f.shutdownDelay))
	}
	return level, errors.Join(errs...)
}

func run(ctx context.Context, f *flags) error {
	level, err := f.validate()
	if err != nil {
		return err
	}
	handler := slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	log := slog.New(handler)
	// The libraries' logs are lines of the same kind.
	slog.SetDefault(log)
	klog.SetSlogLogger(log)

	var server *webhook.Server // there before the certificate is followed
	certificate, err := f.certificate(log, func(err error) { server.CertificateChanged(err) })
	if err != nil {
		return err
	}
	var clients *clientca.CAs
	if f.clientCA != "" {
		if clients, err = clientca.New(f.clientCA, log); err != nil {
			return fmt.Errorf("--client-ca-file: %w", err)
		}
	}
	server, err = webhook.New(webhook.Options{
		ConfigFile:           f.config,
		Certificate:          certificate,
		BindAddress:          f.bindAddress,
		Port:                 f.port,
		MaxConnections:       f.connections,
		MaxClientConnections: f.perClient,
		ClientCAs:            clients,
		MetricsAddress:       f.metrics,
		ProbeAddress:         f.probes,
		ShutdownDelay:        f.shutdownDelay,
		Logger:               log,
	})
	if err != nil {
		return err
	}
	return serve(ctx, certificate.Start, server.Run)
}

// serve runs both until ctx is done or one fails. The certificate is followed
// until the server has drained: it may be renewed, and rotated, meanwhile.
func serve(ctx context.Context, follow, answer func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		if err := follow(following); err != nil {
			return fmt.Errorf("serving certificate: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		defer stop()
		return answer(ctx)
	})
	return group.Wait()
}

// certificate returns the source that the flags ask for; it calls changed after
// a change was taken over, and with the reason when that failed.
func (f *flags) certificate(log *slog.Logger, changed func(error)) (servingCertificate, error) {
	if !f.selfManaged {
		files, err := certs.NewFiles(filepath.Join(f.certDir, "tls.crt"), filepath.Join(f.certDir, "tls.key"))
		if err != nil {
			return nil, fmt.Errorf("--cert-dir: %w", err)
		}
		files.Logger, files.OnReload = log, changed
		return files, nil
	}
	cfg, err := cluster.Config(f.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--self-managed-certs: %w", err)
	}
	namespace, err := cluster.Namespace(f.namespace)
	if err != nil {
		return nil, fmt.Errorf("--self-managed-certs: %w", err)
	}
	return certs.NewSelfManaged(certs.SelfManagedOptions{
		RESTConfig:           cfg,
		Namespace:            namespace,
		CASecret:             f.caSecret,
		Service:              f.service,
		WebhookConfiguration: f.webhookConfiguration,
		Logger:               log,
		OnPublish:            changed,
	})
}
