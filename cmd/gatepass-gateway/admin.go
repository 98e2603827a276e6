package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/handover"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// bootstrapInterval is how often the administrator is tried to be made.
const bootstrapInterval = 2 * time.Second

// bootstrap makes the administrator, once the store has been read.
func bootstrap(ctx context.Context, log *slog.Logger, objects *catalog.Catalog, at place) error {
	for {
		err := objects.Ready()
		if err == nil {
			if err = bootstrapOnce(ctx, log, objects, at); err == nil {
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

// place is where the administrator's credentials are kept before they are good for
// anything. Package handover has two.
type place interface {
	fmt.Stringer
	// Keep returns what is kept: fresh ones, or what is there already.
	Keep(ctx context.Context, fresh catalog.Credentials) (catalog.Credentials, error)
	// Withdraw is called when what is kept is worthless.
	Withdraw() error
}

// printed is a stream that tells credentials, once they are good for something, and
// keeps none.
type printed struct{ out io.Writer }

func (printed) String() string { return "a stream" }

func (printed) Keep(_ context.Context, fresh catalog.Credentials) (catalog.Credentials, error) {
	return fresh, nil
}

func (printed) Withdraw() error { return nil }

// adminPlace is where the flags say, or else standard output, unless the audit log
// goes there, which is collected and kept: then it is standard error.
func (f *flags) adminPlace() (place, error) {
	switch {
	case f.adminFile != "":
		return handover.NewFile(f.adminFile), nil
	case f.adminSecret != "" && f.bootstraps:
	case f.auditLog == "-":
		return printed{os.Stderr}, nil
	default:
		return printed{os.Stdout}, nil
	}
	cluster, err := f.cluster()
	if err != nil {
		return nil, fmt.Errorf("--admin-credentials-secret: %w", err)
	}
	secret, err := handover.NewSecret(handover.SecretOptions{Config: cluster, Name: f.adminSecret})
	if err != nil {
		return nil, fmt.Errorf("--admin-credentials-secret: %w", err)
	}
	return secret, nil
}

// bootstrapOnce has the credentials kept before they are good for anything, or
// prints them afterwards.
func bootstrapOnce(ctx context.Context, log *slog.Logger, objects *catalog.Catalog, at place) error {
	if to, ok := at.(printed); ok {
		made, err := objects.Bootstrap(ctx, nil)
		if err != nil || made == nil {
			return err
		}
		return handover.Write(to.out, *made)
	}
	kept := false
	made, err := objects.Bootstrap(ctx, func(ctx context.Context, fresh catalog.Credentials) (catalog.Credentials, error) {
		credentials, err := at.Keep(ctx, fresh)
		kept = err == nil
		return credentials, err
	})
	switch {
	case err != nil:
		// What is kept is taken up by the next try: it may be in the store.
		return err
	case made != nil:
		log.Info("the administrator was made", "access_id", made.AccessID, "credentials", at.String())
	case kept:
		if err := at.Withdraw(); err != nil {
			log.Warn("another gateway made the administrator", "error", err)
		}
	}
	return nil
}

const (
	// resealInterval is how often it is looked whether another key seals.
	resealInterval = 10 * time.Second
	// surveyInterval is how often everything is looked through all the same: another
	// gateway, which got the key file later, may have sealed under the older key
	// meanwhile.
	surveyInterval = 10 * time.Minute
)

// reseal seals everything anew whenever another key seals, and what is under an older
// one every while, until ctx is done.
func reseal(ctx context.Context, log *slog.Logger, s store.Store, sealer *seal.Sealer) error {
	ticker := time.NewTicker(resealInterval)
	defer ticker.Stop()
	done := ""
	var last time.Time
	for {
		if now := sealer.Current(); now != done || time.Since(last) >= surveyInterval {
			if err := resealOnce(ctx, log, s, sealer, now); err == nil {
				done, last = now, time.Now()
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

// resealOnce looks at every sealed value itself: no note in the store could say that
// nobody sealed under an older key after it was written.
func resealOnce(ctx context.Context, log *slog.Logger, s store.Store, sealer *seal.Sealer, key string) error {
	n, err := sealer.Reseal(ctx, s)
	if n > 0 {
		log.Info("values were sealed under the new key", "key", key, "count", n)
	}
	return err
}
