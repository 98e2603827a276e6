package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	agentconfig "github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/gateway"
	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/state"
)

// serve wires the parts together and runs them until ctx is done.
func serve(ctx context.Context, f *flags) (err error) {
	level, err := agentconfig.ParseLogLevel(f.logLevel)
	if err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	klog.SetSlogLogger(log)

	records, closeRecords, err := openAuditLog(f.auditLog)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRecords()) }()
	certificates, err := f.certificates(log)
	if err != nil {
		return err
	}
	store, err := f.keyStore()
	if err != nil {
		return err
	}
	measures, err := gateway.NewMeasures(certificates.NotAfter)
	if err != nil {
		return err
	}
	states := state.New(state.Options{Cluster: f.cluster, Keys: store, ObserveReview: measures.Reviewed, Logger: log})
	defer states.Close()
	server, err := f.server(ctx, log, measures, states, certificates, records)
	if err != nil {
		return err
	}
	// The certificate and configuration are followed until the server has
	// drained, so their context ends after it.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	group, background := errgroup.WithContext(background)
	group.Go(func() error {
		if err := certificates.Start(background); err != nil {
			return fmt.Errorf("serving certificate: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		return config.Watch(background, config.WatchOptions{File: f.config, Apply: states.Apply, Reloaded: measures.Reloaded, Logger: log})
	})
	group.Go(func() error { return states.Follow(background) })
	group.Go(func() error {
		defer stop()
		serving, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(background, cancel)()
		return server.Run(serving)
	})
	return group.Wait()
}

// server opens the listeners, so that an address that is taken ends the start.
func (f *flags) server(ctx context.Context, log *slog.Logger, m *gateway.Measures, states *state.Store, certificates certificateSource, records *audit.Log) (*gateway.Server, error) {
	options := gateway.ServerOptions{
		Certificates:  certificates,
		Registry:      m.Registry(),
		Metrics:       m.Handler(),
		Ready:         states.Ready,
		ShutdownDelay: f.shutdownDelay,
		Logger:        log,
	}
	var server *gateway.Server
	api, err := gateway.New(gateway.Options{
		State:   states.State,
		Audit:   records,
		Ready:   func() error { return server.Ready() },
		Logger:  log,
		Metrics: m.Registry(),
	})
	if err != nil {
		return nil, err
	}
	options.API = api
	var listen net.ListenConfig
	for _, l := range []struct {
		what, address string
		listener      *net.Listener
	}{
		{"api", f.listen, &options.APIListener},
		{"metrics", f.metrics, &options.MetricsListener},
		{"health probes", f.probes, &options.HealthListener},
	} {
		if l.address == "0" && l.what != "api" {
			continue
		}
		if *l.listener, err = listen.Listen(ctx, "tcp", l.address); err != nil {
			return nil, fmt.Errorf("listen for %s: %w", l.what, err)
		}
		log.Info("listening", "for", l.what, "address", (*l.listener).Addr().String())
	}
	server, err = gateway.NewServer(options)
	return server, err
}

// openAuditLog opens a file for appending, or standard output.
func openAuditLog(name string) (*audit.Log, func() error, error) {
	if name == "-" {
		return audit.NewLog(os.Stdout), func() error { return nil }, nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, nil, fmt.Errorf("open the audit log: %w", err)
	}
	return audit.NewLog(io.Writer(f)), f.Close, nil
}

func (f *flags) keyStore() (keys.Store, error) {
	if f.keysSecret == "" {
		return keys.NewDir(f.dataDir)
	}
	cluster, err := f.cluster()
	if err != nil {
		return nil, fmt.Errorf("--signing-keys-secret: %w", err)
	}
	store, err := keys.NewSecret(keys.SecretOptions{Config: cluster, Name: f.keysSecret})
	if err != nil {
		return nil, fmt.Errorf("--signing-keys-secret: %w", err)
	}
	return store, nil
}
