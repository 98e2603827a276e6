package state

import (
	"context"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/session"
)

const (
	// keysInterval is how often the signing keys are read again. It bounds how long
	// keys that were stolen and replaced verify sessions.
	keysInterval = 15 * time.Second
	// retryInterval is how often the store is read again that could not be read.
	retryInterval = time.Second
)

// signing is the part of a snapshot that follows the signing keys.
type signing struct {
	sessions *session.Keyring
	keys     []keys.Key
}

// Follow reads the signing keys again, which another gateway may have replaced, until
// ctx is done. It also reads what CatalogChanged could not. It returns nil.
func (s *Store) Follow(ctx context.Context) error {
	ticker := time.NewTicker(retryInterval)
	defer ticker.Stop()
	read := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		s.catchUp(ctx)
		if time.Since(read) < keysInterval {
			continue
		}
		read = time.Now()
		changed, err := s.refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.options.Logger.Error("signing keys can't be read; those in memory stay in use", "error", err)
		case changed:
			s.options.Logger.Info("signing keys changed")
		}
	}
}

// catchUp reads the catalog, and makes the clients, that failed before.
func (s *Store) catchUp(ctx context.Context) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.behind {
		s.update(ctx)
	}
	s.repair()
}

// refresh reads the signing keys, and replaces the snapshot if they changed.
func (s *Store) refresh(ctx context.Context) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	s.changing.Lock()
	defer s.changing.Unlock()
	old := s.present.Load()
	if old == nil {
		return false, nil
	}
	next := *old
	if err := s.readKeys(ctx, &next, old); err != nil || next.sessions == old.sessions {
		return false, err
	}
	s.present.Store(&next)
	return true, nil
}

// readKeys gives next the signing keys. Those of old, if not nil, are ones that must
// not be lost; if they are what they were, so is the keyring.
func (s *Store) readKeys(ctx context.Context, next, old *snapshot) error {
	var was signing
	if old != nil {
		was = old.signing
	}
	found, err := s.options.Keys.Keys(ctx, was.keys)
	if err != nil {
		return err //nolint:wrapcheck // it says where they are
	}
	if old != nil && old.config.Issuer == next.config.Issuer && keys.Same(found, was.keys) {
		next.signing = was
		return nil
	}
	signing := make([]session.Signing, 0, len(found))
	for _, key := range found {
		made, err := session.NewKey(key.Private)
		if err != nil {
			return fmt.Errorf("signing keys: %w", err)
		}
		signing = append(signing, session.Signing{Key: made, From: key.From, Until: key.Until})
	}
	ring, err := session.NewKeyring(next.config.Issuer, signing...)
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	next.sessions, next.keys = ring, found
	return nil
}
