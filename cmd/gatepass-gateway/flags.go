package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	agentconfig "github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/handover"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/internal/clientca"
)

// flags are those of serve, as they were given.
type flags struct {
	storage

	config        string
	issuer        string
	listen        string
	metrics       string
	probes        string
	logLevel      string
	auditLog      string
	shutdownDelay time.Duration
	kubeconfig    string
	keysSecret    string
	keysFile      string
	keyRotation   time.Duration
	adminFile     string
	adminSecret   string
	bootstraps    bool

	tlsCert, tlsKey string
	clientCA        string
	clientCerts     string
	profiles        string

	limits

	selfManaged bool
	namespace   string
	caSecret    string
	caConfigMap string
	service     string
}

func newServeCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "serve [--config FILE] --data-dir DIR (--tls-cert FILE --tls-key FILE | --self-managed-certs)",
		Short: "Serve logins and secrets",
		Long: `serve answers the V2 API over TLS, under /, /v2 and /api/v2, and Vault's
protocol under /v1. It publishes the keys that sessions are signed with at
/.well-known/openid-configuration.

What is managed through the API is kept in a database in the data folder, for one
gateway, or in an etcd, for several. Auth methods may also be declared in a
configuration file. That and the certificate are followed when they change. A
configuration that is broken changes nothing: the last good one stays in use.

When it starts on an empty store, it makes the administrator's access id and access
key, and tells them once, on a standard stream or where --admin-credentials-file or
--admin-credentials-secret says; what these hold already becomes the administrator's.`,
		Example: `  # one gateway, managed through its API
  gatepass-gateway serve --data-dir /var/lib/gatepass --listen :8000 \
    --issuer https://gatepass.example.com:8000 \
    --tls-cert /etc/gatepass/tls/tls.crt --tls-key /etc/gatepass/tls/tls.key

  # several gateways that share an etcd
  gatepass-gateway serve --data-dir /var/lib/gatepass --etcd-endpoints https://etcd-0:2379,https://etcd-1:2379 \
    --etcd-ca-file /etc/gatepass/etcd/ca.crt --etcd-cert-file /etc/gatepass/etcd/tls.crt --etcd-key-file /etc/gatepass/etcd/tls.key \
    --seal-key-file /etc/gatepass/seal/seal.key --tls-cert /etc/gatepass/tls/tls.crt --tls-key /etc/gatepass/tls/tls.key

  # certificate files, signing keys in the data folder
  gatepass-gateway serve --config /etc/gatepass/config.yaml --data-dir /var/lib/gatepass \
    --listen :8000 --tls-cert /etc/gatepass/tls/tls.crt --tls-key /etc/gatepass/tls/tls.key

  # several replicas in a cluster: shared signing keys, self-managed certificates
  gatepass-gateway serve --config /etc/gatepass/config.yaml --data-dir /var/lib/gatepass \
    --signing-keys-secret gatepass-system/gatepass-gateway-signing-keys --self-managed-certs`,
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error { return f.validate() },
		RunE:    func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), &f) },
	}
	f.storage.add(cmd.Flags())
	f.limits.add(cmd.Flags())
	f.add(cmd.Flags())
	return cmd
}

func (f *flags) add(p *pflag.FlagSet) {
	p.StringVar(&f.config, "config", "", "file with declared auth methods (GatewayConfig)")
	p.StringVar(&f.issuer, "issuer", "", "without --config: the gateway's address as its clients know it, the issuer of sessions; made of --listen, and kept, if not given")
	p.StringVar(&f.adminFile, "admin-credentials-file", "", "file, made with mode 0600, that gets the administrator's first credentials; if neither it nor a Secret is given, they are told on standard output, or on standard error when the audit log goes there")
	p.StringVar(&f.adminSecret, "admin-credentials-secret", "", "NAMESPACE/NAME of an empty Secret that gets them instead, as "+handover.AccessIDKey+" and "+handover.AccessKeyKey)
	p.BoolVar(&f.bootstraps, "bootstrap-admin", true, "make an administrator in a store that never had one")
	p.StringVar(&f.listen, "listen", ":8000", "host:port to serve the API on")
	p.StringVar(&f.tlsCert, "tls-cert", "", "file with the serving certificate")
	p.StringVar(&f.tlsKey, "tls-key", "", "file with the serving certificate's key")
	p.StringVar(&f.clientCA, "client-ca-file", "", "file with the authorities of client certificates; followed when it changes; none are asked for if not given")
	p.StringVar(&f.clientCerts, "client-certificates", string(clientca.Required), "with --client-ca-file: required, or optional, which refuses bad ones only")
	p.StringVar(&f.profiles, "pprof-bind-address", "0", "host:port of this machine's own to serve /debug/pprof on, as 127.0.0.1:6060; 0 for none")
	p.StringVar(&f.metrics, "metrics-bind-address", ":8080", "host:port to serve /metrics on; 0 for none")
	p.StringVar(&f.probes, "health-probe-bind-address", ":8081", "host:port to serve /healthz and /readyz on; 0 for none")
	p.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	p.StringVar(&f.auditLog, "audit-log", "-", "file that gets a line for every request; it may be rotated; - for standard output")
	p.DurationVar(&f.shutdownDelay, "shutdown-delay", 5*time.Second, "how long to go on answering after SIGTERM")
	p.StringVar(&f.keysSecret, "signing-keys-secret", "", "NAMESPACE/NAME of a Secret that keeps the signing keys instead of the store, so that replicas without an etcd share them")
	p.StringVar(&f.keysFile, "signing-keys-file", "", "file with signing keys of yours instead, PEM one after the other: the first signs, all verify; followed when it changes")
	p.DurationVar(&f.keyRotation, "signing-key-rotation", keys.DefaultRotation, "how long a signing key of the store or the Secret signs before a new one takes its place; 0 for until rotate-signing-key")
	p.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the gateway's own cluster; the one it runs in if empty")
	p.BoolVar(&f.selfManaged, "self-managed-certs", false, "issue and rotate the serving certificate with an authority kept in a Secret")
	p.StringVar(&f.namespace, "namespace", "", "namespace of the Secret, ConfigMap and Service; the pod's own if empty")
	p.StringVar(&f.caSecret, "ca-secret", "gatepass-gateway-ca", "Secret that holds the authority")
	p.StringVar(&f.caConfigMap, "ca-config-map", "gatepass-gateway-ca", "ConfigMap that gets the authority's certificate, under ca.crt")
	p.StringVar(&f.service, "service", "gatepass-gateway", "Service that agents call")
}

// validate reports everything that is wrong with the flags.
func (f *flags) validate() error {
	var errs []error
	errs = append(errs, f.validateSealed())
	if f.listen == "" {
		errs = append(errs, errors.New("--listen must be given"))
	}
	errs = append(errs, f.validateIssuer(), f.limits.validate(), f.validateClients(), f.validateProfiles())
	files := f.tlsCert != "" || f.tlsKey != ""
	switch {
	case files && f.selfManaged:
		errs = append(errs, errors.New("--tls-cert and --tls-key exclude --self-managed-certs; give one or the other"))
	case files && (f.tlsCert == "" || f.tlsKey == ""):
		errs = append(errs, errors.New("--tls-cert and --tls-key must be given together"))
	case !files && !f.selfManaged:
		errs = append(errs, errors.New("no serving certificate is given; use --tls-cert FILE --tls-key FILE, or --self-managed-certs"))
	}
	if _, err := agentconfig.ParseLogLevel(f.logLevel); err != nil {
		errs = append(errs, fmt.Errorf("--log-level: %w", err))
	}
	errs = append(errs, f.validateKeys())
	if f.shutdownDelay < 0 {
		errs = append(errs, errors.New("--shutdown-delay must not be negative"))
	}
	return errors.Join(errs...)
}

// validateKeys reports what is wrong with the flags of the administrator's key and
// of the signing keys.
func (f *flags) validateKeys() error {
	var errs []error
	if f.adminFile != "" && f.adminSecret != "" {
		errs = append(errs, errors.New("--admin-credentials-file and --admin-credentials-secret exclude each other"))
	}
	if f.keysSecret != "" && f.keysFile != "" {
		errs = append(errs, errors.New("--signing-keys-secret and --signing-keys-file exclude each other"))
	}
	if f.keyRotation != 0 && f.keyRotation < keys.MinRotation {
		errs = append(errs, fmt.Errorf("--signing-key-rotation must be %s at least, or 0 for never", keys.MinRotation))
	}
	return errors.Join(errs...)
}

func (f *flags) validateClients() error {
	switch clientca.Demand(f.clientCerts) {
	case clientca.Optional, clientca.Required:
		return nil
	}
	return fmt.Errorf("--client-certificates must be %s or %s", clientca.Optional, clientca.Required)
}

// validateProfiles keeps profiles, which need no session, from the network.
func (f *flags) validateProfiles() error {
	if f.profiles == "0" {
		return nil
	}
	host, _, err := net.SplitHostPort(f.profiles)
	if err != nil {
		return fmt.Errorf("--pprof-bind-address: %w", err)
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
		return errors.New("--pprof-bind-address must be a loopback address, as 127.0.0.1:6060: whoever reaches it needs no session; use kubectl port-forward")
	}
	return nil
}

func (f *flags) validateIssuer() error {
	if f.issuer == "" {
		return nil
	}
	if f.config != "" {
		return errors.New("--issuer is for a gateway without --config; the configuration file names its own")
	}
	if problem := config.CheckURL(f.issuer); problem != "" {
		return fmt.Errorf("--issuer %s", problem)
	}
	return nil
}
