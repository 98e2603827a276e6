package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/state"
)

// follow takes the configuration into use: that of the file, whenever it changes, or
// one without any objects if there is no file.
func (f *flags) follow(ctx context.Context, log *slog.Logger, objects *catalog.Catalog, states *state.Store, reloaded func(error)) error {
	if f.config != "" {
		return config.Watch(ctx, config.WatchOptions{File: f.config, Apply: states.Apply, Reloaded: reloaded, Logger: log})
	}
	issuer := f.issuer
	if issuer == "" {
		address, err := ownAddress(f.listen)
		if err != nil {
			return err
		}
		if issuer, err = objects.Issuer(ctx, address); err != nil {
			return err
		}
		log.Info("sessions name this issuer; give --issuer if clients know the gateway by another address", "issuer", issuer)
	}
	err := states.Apply(ctx, &config.Config{Issuer: issuer})
	reloaded(err)
	if err != nil {
		return fmt.Errorf("begin without a configuration file: %w", err)
	}
	<-ctx.Done()
	return nil
}

// ownAddress is where the gateway is, as far as it knows.
func ownAddress(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("--listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("find out the host's name; give --issuer: %w", err)
		}
	}
	return "https://" + net.JoinHostPort(host, port), nil
}
