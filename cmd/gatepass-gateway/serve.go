package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	agentconfig "github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/gateway"
	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/state"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/measured"
	"github.com/gatepass/gatepass/internal/clientca"
)

// serve wires the parts together and runs them until ctx is done.
func serve(ctx context.Context, f *flags) (err error) {
	log, err := f.logger()
	if err != nil {
		return err
	}
	auditLog, closeAudit, err := openAuditLog(f.auditLog)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAudit()) }()
	certificates, err := f.certificates(log)
	if err != nil {
		return err
	}
	clients, err := f.clientCAs(log)
	if err != nil {
		return err
	}
	records, sealer, err := f.openSealed(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	signingKeys, ring, err := f.signingKeys(records, sealer)
	if err != nil {
		return err
	}
	administrator, err := f.adminPlace()
	if err != nil {
		return err
	}
	measures, err := gateway.NewMeasures(certificates.NotAfter)
	if err != nil {
		return err
	}
	watched, err := measured.New(records, measures.Registry())
	if err != nil {
		return err
	}
	records = watched
	objects, states, err := f.objects(log, measures, records, sealer, signingKeys, auditLog)
	if err != nil {
		return err
	}
	defer states.Close()
	server, err := f.server(ctx, log, measures, objects, states, certificates, clients, auditLog)
	if err != nil {
		return err
	}
	return f.run(ctx, server, background{log, measures, records, watched, sealer, ring, objects, states, certificates, clients, administrator, auditLog})
}

func (f *flags) logger() (*slog.Logger, error) {
	level, err := agentconfig.ParseLogLevel(f.logLevel)
	if err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	klog.SetSlogLogger(log)
	return log, nil
}

// objects makes the catalog, and the state that follows it. The state must be closed.
func (f *flags) objects(log *slog.Logger, m *gateway.Measures, records store.Store, sealer *seal.Sealer, signingKeys keys.Source, auditLog *audit.Log) (*catalog.Catalog, *state.Store, error) {
	var states *state.Store
	objects, err := catalog.New(catalog.Options{
		Store: records, Seal: sealer, Audit: m.Audited(auditLog), Logger: log,
		Changed: func(ctx context.Context) { states.CatalogChanged(ctx) },
		Usable:  func(c *catalog.AuthConfig) error { return states.Usable(c) },
	})
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(objects.Register(m.Registry()), m.Sealing(sealer.Current)); err != nil {
		return nil, nil, err
	}
	states = state.New(state.Options{Cluster: f.cluster, Catalog: objects, Keys: signingKeys, ObserveReview: m.Reviewed, Logger: log})
	return objects, states, nil
}

// background is what runs beside the server.
type background struct {
	log          *slog.Logger
	measures     *gateway.Measures
	records      store.Store
	watched      *measured.Store // is records
	sealer       *seal.Sealer
	ring         *keys.Ring // nil if the administrator keeps the signing keys
	objects      *catalog.Catalog
	states       *state.Store
	certificates certificateSource
	clients      *clientca.CAs // nil if none are asked for certificates
	// administrator is where the first credentials are kept or told.
	administrator place
	audit         *audit.Log
}

// run runs everything until ctx is done.
func (f *flags) run(ctx context.Context, server *gateway.Server, b background) error {
	// The certificate and configuration are followed until the server has
	// drained, so their context ends after it.
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	group, beside := errgroup.WithContext(beside)
	group.Go(func() error {
		if err := b.certificates.Start(beside); err != nil {
			return fmt.Errorf("serving certificate: %w", err)
		}
		return nil
	})
	if b.clients != nil {
		group.Go(func() error { return b.clients.Follow(beside) })
	}
	group.Go(func() error { return b.sealer.Follow(beside) })
	group.Go(func() error { return b.watched.Probe(beside) })
	group.Go(func() error { return b.objects.Run(beside) })
	group.Go(func() error { return f.follow(beside, b.log, b.objects, b.states, b.measures.Reloaded) })
	group.Go(func() error { return b.states.Follow(beside) })
	group.Go(func() error { return reseal(beside, b.log, b.records, b.sealer) })
	group.Go(func() error { return f.maintain(beside, b) })
	if f.bootstraps {
		group.Go(func() error { return bootstrap(beside, b.log, b.objects, b.administrator) })
	}
	group.Go(func() error {
		defer stop()
		serving, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(beside, cancel)()
		return server.Run(serving)
	})
	return group.Wait()
}

// server opens the listeners, so that an address that is taken ends the start.
func (f *flags) server(ctx context.Context, log *slog.Logger, m *gateway.Measures, objects *catalog.Catalog, states *state.Store, certificates certificateSource, clients *clientca.CAs, auditLog *audit.Log) (*gateway.Server, error) {
	options := gateway.ServerOptions{
		Certificates:  certificates,
		Registry:      m.Registry(),
		Metrics:       m.Handler(),
		Ready:         states.Ready,
		ShutdownDelay: f.shutdownDelay,
		Logger:        log,

		MaxConnections: f.connections, MaxClientConnections: f.clientConnections,
		ClientCAs: clients, ClientCertificates: clientca.Demand(f.clientCerts),
	}
	var server *gateway.Server
	api, err := gateway.New(gateway.Options{ //nolint:contextcheck // its handlers have the requests' contexts
		State:   states.State,
		Audit:   m.Audited(auditLog),
		Catalog: objects,
		Version: buildVersion(),
		Ready:   func() error { return server.Ready() },
		Logger:  log,
		Metrics: m.Registry(),

		ClientRate: f.clientRate, MethodRate: f.methodRate,
	})
	if err != nil {
		return nil, err
	}
	options.API = api
	if err := f.listeners(ctx, log, &options); err != nil {
		return nil, err
	}
	server, err = gateway.NewServer(options)
	return server, err
}

// listeners opens those that are not switched off.
func (f *flags) listeners(ctx context.Context, log *slog.Logger, options *gateway.ServerOptions) (err error) {
	var listen net.ListenConfig
	for _, l := range []struct {
		what, address string
		listener      *net.Listener
	}{
		{"api", f.listen, &options.APIListener},
		{"metrics", f.metrics, &options.MetricsListener},
		{"health probes", f.probes, &options.HealthListener},
		{"profiles", f.profiles, &options.ProfileListener},
	} {
		if l.address == "0" && l.what != "api" {
			continue
		}
		if *l.listener, err = listen.Listen(ctx, "tcp", l.address); err != nil {
			return fmt.Errorf("listen for %s: %w", l.what, err)
		}
		log.Info("listening", "for", l.what, "address", (*l.listener).Addr().String())
	}
	return nil
}

// clientCAs are the CAs of clients, nil if there are none.
func (f *flags) clientCAs(log *slog.Logger) (*clientca.CAs, error) {
	if f.clientCA == "" {
		return nil, nil
	}
	found, err := clientca.New(f.clientCA, log)
	if err != nil {
		return nil, fmt.Errorf("--client-ca-file: %w", err)
	}
	return found, nil
}

// openAuditLog opens a file for appending, or standard output.
func openAuditLog(name string) (*audit.Log, func() error, error) {
	if name == "-" {
		return audit.NewLog(os.Stdout), func() error { return nil }, nil
	}
	f, err := audit.OpenFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("--audit-log: %w", err)
	}
	return audit.NewLog(f), f.Close, nil
}

// signingKeys are the keys that sign sessions: those of the administrator's file, or a
// ring, which is nil then. Gateways that share a store share its keys too.
func (f *flags) signingKeys(records store.Store, sealer *seal.Sealer) (keys.Source, *keys.Ring, error) {
	if f.keysFile != "" {
		return keys.File(f.keysFile), nil, nil
	}
	if f.keysSecret == "" {
		ring := keys.NewStored(records, sealer, f.keyRotation)
		return ring, ring, nil
	}
	ring, err := secretKeys(f.keysSecret, f.kubeconfig, f.keyRotation)
	return ring, ring, err
}
