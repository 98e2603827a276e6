package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// bootstrapInterval is how often the administrator is tried to be made.
const bootstrapInterval = 2 * time.Second

// bootstrap makes the administrator, once the store has been read.
func (f *flags) bootstrap(ctx context.Context, log *slog.Logger, objects *catalog.Catalog) error {
	for {
		err := objects.Ready()
		if err == nil {
			if err = f.bootstrapOnce(ctx, objects); err == nil {
				return nil
			}
			log.Error("the administrator can't be made; it is tried again", "error", err)
		}
		wait := bootstrapInterval
		if objects.Ready() != nil {
			wait = 10 * time.Millisecond // the store is being read
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// bootstrapOnce writes the credentials to a file before they are good for anything,
// so that they can't get lost, or prints them afterwards.
func (f *flags) bootstrapOnce(ctx context.Context, objects *catalog.Catalog) error {
	var deliver func(catalog.Credentials) error
	written := false
	if f.adminFile != "" {
		deliver = func(c catalog.Credentials) error {
			err := writeCredentials(f.adminFile, c)
			written = err == nil
			return err
		}
	}
	made, err := objects.Bootstrap(ctx, deliver)
	switch {
	case made == nil && written && !errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil:
		// They are worthless: another gateway was faster.
		return errors.Join(err, os.Remove(f.adminFile))
	case err != nil || made == nil || f.adminFile != "":
		return err
	}
	return tellAdministrator(os.Stdout, *made)
}

// writeCredentials makes a file of mode 0600. It replaces none.
func writeCredentials(name string, c catalog.Credentials) error {
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the administrator names the file
	if err != nil {
		return fmt.Errorf("--admin-credentials-file: %w", err)
	}
	if err := errors.Join(tellAdministrator(out, c), out.Sync(), out.Close()); err != nil {
		return errors.Join(fmt.Errorf("--admin-credentials-file: %w", err), os.Remove(name))
	}
	return nil
}

const (
	// resealInterval is how often it is looked whether another key seals.
	resealInterval = 10 * time.Second
	// resealedKey is where the store says under which key everything is sealed.
	resealedKey = "sealed-under"
)

// reseal seals everything anew whenever another key seals, until ctx is done.
func reseal(ctx context.Context, log *slog.Logger, s store.Store, sealer *seal.Sealer) error {
	ticker := time.NewTicker(resealInterval)
	defer ticker.Stop()
	done := ""
	for {
		if now := sealer.Current(); now != done {
			if err := resealOnce(ctx, log, s, sealer, now); err == nil {
				done = now
			} else if ctx.Err() == nil {
				log.Error("secrets can't be sealed under the new key; it is tried again", "key", now, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func resealOnce(ctx context.Context, log *slog.Logger, s store.Store, sealer *seal.Sealer, key string) error {
	marked, err := s.Get(ctx, resealedKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read under which key everything is sealed: %w", err)
	}
	if string(marked.Value) == key {
		return nil
	}
	n, err := sealer.Reseal(ctx, s)
	if err != nil {
		return err
	}
	if n > 0 {
		log.Info("secrets were sealed under the new key", "key", key, "count", n)
	}
	if _, err := s.Commit(ctx, store.Put(resealedKey, []byte(key))); err != nil {
		return fmt.Errorf("note under which key everything is sealed: %w", err)
	}
	return nil
}
