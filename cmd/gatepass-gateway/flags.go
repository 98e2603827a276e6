package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepass/gatepass/agent/config"
)

// flags are those of serve, as they were given.
type flags struct {
	config        string
	dataDir       string
	listen        string
	metrics       string
	probes        string
	logLevel      string
	auditLog      string
	shutdownDelay time.Duration
	kubeconfig    string
	keysSecret    string

	tlsCert, tlsKey string

	selfManaged bool
	namespace   string
	caSecret    string
	caConfigMap string
	service     string
}

func newServeCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "serve --config FILE --data-dir DIR (--tls-cert FILE --tls-key FILE | --self-managed-certs)",
		Short: "Serve logins",
		Long: `serve answers the V2 API over TLS: POST /auth, /validate-token and
/describe-sub-claims, under /, /v2 and /api/v2, and publishes the keys that sessions
are signed with at /.well-known/openid-configuration.

The configuration and the certificate are followed when they change. A
configuration that is broken changes nothing: the last good one stays in use.`,
		Example: `  # certificate files, signing keys in the data folder
  gatepass-gateway serve --config /etc/gatepass/config.yaml --data-dir /var/lib/gatepass \
    --listen :8000 --tls-cert /etc/gatepass/tls/tls.crt --tls-key /etc/gatepass/tls/tls.key

  # several replicas in a cluster: shared signing keys, self-managed certificates
  gatepass-gateway serve --config /etc/gatepass/config.yaml --data-dir /var/lib/gatepass \
    --signing-keys-secret gatepass-system/gatepass-gateway-signing-keys --self-managed-certs`,
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error { return f.validate() },
		RunE:    func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), &f) },
	}
	p := cmd.Flags()
	p.StringVar(&f.config, "config", "", "file with the auth methods (GatewayConfig)")
	p.StringVar(&f.dataDir, "data-dir", "", "folder that keeps the gateway's own data, signing keys among it")
	p.StringVar(&f.listen, "listen", ":8000", "host:port to serve the API on")
	p.StringVar(&f.tlsCert, "tls-cert", "", "file with the serving certificate")
	p.StringVar(&f.tlsKey, "tls-key", "", "file with the serving certificate's key")
	p.StringVar(&f.metrics, "metrics-bind-address", ":8080", "host:port to serve /metrics on; 0 for none")
	p.StringVar(&f.probes, "health-probe-bind-address", ":8081", "host:port to serve /healthz and /readyz on; 0 for none")
	p.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	p.StringVar(&f.auditLog, "audit-log", "-", "file that gets a line for every login; - for standard output")
	p.DurationVar(&f.shutdownDelay, "shutdown-delay", 5*time.Second, "how long to go on answering after SIGTERM")
	p.StringVar(&f.keysSecret, "signing-keys-secret", "", "NAMESPACE/NAME of a Secret that keeps signing keys instead of the data folder, so that replicas share them")
	p.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the gateway's own cluster; the one it runs in if empty")
	p.BoolVar(&f.selfManaged, "self-managed-certs", false, "issue and rotate the serving certificate with an authority kept in a Secret")
	p.StringVar(&f.namespace, "namespace", "", "namespace of the Secret, ConfigMap and Service; the pod's own if empty")
	p.StringVar(&f.caSecret, "ca-secret", "gatepass-gateway-ca", "Secret that holds the authority")
	p.StringVar(&f.caConfigMap, "ca-config-map", "gatepass-gateway-ca", "ConfigMap that gets the authority's certificate, under ca.crt")
	p.StringVar(&f.service, "service", "gatepass-gateway", "Service that agents call")
	return cmd
}

// validate reports everything that is wrong with the flags.
func (f *flags) validate() error {
	var errs []error
	for _, required := range []struct{ name, value string }{{"--config", f.config}, {"--data-dir", f.dataDir}, {"--listen", f.listen}} {
		if required.value == "" {
			errs = append(errs, fmt.Errorf("%s must be given", required.name))
		}
	}
	files := f.tlsCert != "" || f.tlsKey != ""
	switch {
	case files && f.selfManaged:
		errs = append(errs, errors.New("--tls-cert and --tls-key exclude --self-managed-certs; give one or the other"))
	case files && (f.tlsCert == "" || f.tlsKey == ""):
		errs = append(errs, errors.New("--tls-cert and --tls-key must be given together"))
	case !files && !f.selfManaged:
		errs = append(errs, errors.New("no serving certificate is given; use --tls-cert FILE --tls-key FILE, or --self-managed-certs"))
	}
	if _, err := config.ParseLogLevel(f.logLevel); err != nil {
		errs = append(errs, fmt.Errorf("--log-level: %w", err))
	}
	if f.shutdownDelay < 0 {
		errs = append(errs, errors.New("--shutdown-delay must not be negative"))
	}
	return errors.Join(errs...)
}
