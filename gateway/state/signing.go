package state

import (
	"context"
	"crypto"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/session"
)

// keysInterval is how often the signing keys are read again. It bounds how long
// gateways that share keys disagree about them.
const keysInterval = time.Minute

// signing is the part of a snapshot that follows the signing keys.
type signing struct {
	sessions *session.Keyring
	current  map[string]*session.Key // by access id
	// kept are those of current that are in the store.
	kept map[string]crypto.Signer
	// retired are keys that were replaced, as long as a session of theirs may
	// live.
	retired []session.Retired
}

// Follow reads the signing keys again every minute until ctx is done: files
// change, another gateway may have been told new keys, and a store that lost
// its keys gets them back. It returns nil.
func (s *Store) Follow(ctx context.Context) error {
	ticker := time.NewTicker(keysInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
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

// refresh reads the signing keys, and replaces the snapshot if one changed.
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
	if err := s.sign(ctx, &next, old); err != nil {
		return false, err
	}
	for id, key := range next.current {
		changed = changed || old.current[id].ID() != key.ID()
	}
	if changed || len(next.retired) != len(old.retired) {
		s.present.Store(&next)
	}
	return changed, nil
}

// sign reads the signing keys of next's configuration. old, if not nil, is the
// present snapshot, whose sessions go on.
func (s *Store) sign(ctx context.Context, next, old *snapshot) error {
	var was signing
	if old != nil {
		was = old.signing
	}
	current, kept, err := s.readKeys(ctx, next.config, was.kept)
	if err != nil {
		return err
	}
	now := time.Now()
	var retired []session.Retired
	for _, r := range was.retired {
		if key, ok := current[r.AccessID]; ok && key.ID() != r.Key.ID() && now.Before(r.Until) {
			retired = append(retired, r)
		}
	}
	for id, key := range was.current {
		if replaced, ok := current[id]; ok && replaced.ID() != key.ID() {
			retired = append(retired, session.Retired{AccessID: id, Key: key, Until: now.Add(old.methods[id].RenewableLife(now))})
		}
	}
	sessions, err := session.NewKeyring(next.config.Issuer, current, retired...)
	if err != nil {
		return err
	}
	next.signing = signing{sessions: sessions, current: current, kept: kept, retired: retired}
	return nil
}

// readKeys returns the key of every access id, and those that are kept in the
// store. known are kept ones that the store must not lose.
func (s *Store) readKeys(ctx context.Context, cfg *config.Config, known map[string]crypto.Signer) (current map[string]*session.Key, kept map[string]crypto.Signer, err error) {
	current = make(map[string]*session.Key, len(cfg.AuthMethods))
	var ids []string
	for i := range cfg.AuthMethods {
		m := &cfg.AuthMethods[i]
		if m.SigningKeyFile == "" {
			ids = append(ids, m.AccessID)
			continue
		}
		private, err := keys.ReadFile(m.SigningKeyFile)
		if err != nil {
			return nil, nil, fmt.Errorf("auth method %q: %w", m.Name, err)
		}
		if current[m.AccessID], err = session.NewKey(private); err != nil {
			return nil, nil, fmt.Errorf("auth method %q: %s: %w", m.Name, m.SigningKeyFile, err)
		}
	}
	if len(ids) == 0 {
		return current, nil, nil
	}
	if kept, err = s.options.Keys.Keys(ctx, ids, known); err != nil {
		return nil, nil, err
	}
	for id, private := range kept {
		if current[id], err = session.NewKey(private); err != nil {
			return nil, nil, fmt.Errorf("kept signing key of access id %s: %w", id, err)
		}
	}
	return current, kept, nil
}
