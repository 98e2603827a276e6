package state

import (
	"context"
	"crypto"
	"fmt"
	"maps"
	"time"

	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/session"
)

const (
	// keysInterval is how often the signing keys of the file's auth methods are read
	// again. It bounds how long gateways that share keys disagree about them.
	keysInterval = time.Minute
	// retryInterval is how often the store is read again that could not be read.
	retryInterval = time.Second
)

// fileKeys are the signing keys of the file's auth methods.
type fileKeys struct {
	declaredKeys map[string]*session.Key // by access id
	// kept are those that no file holds.
	kept map[string]crypto.Signer
}

// signing is the part of a snapshot that follows the signing keys.
type signing struct {
	sessions *session.Keyring
	current  map[string]*session.Key // by access id
	// signers are what the store's keys among current were made of.
	signers map[string]crypto.Signer
	// retired are keys that were replaced, as long as a session of theirs may
	// live.
	retired []session.Retired
}

// Follow reads the signing keys of the file's auth methods again every minute until
// ctx is done: files change, another gateway may have been told new keys, and a
// store that lost its keys gets them back. It also reads what CatalogChanged could
// not. It returns nil.
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
	if err := s.readFileKeys(ctx, &next, old); err != nil {
		return false, err
	}
	if err := s.sign(&next, old); err != nil {
		return false, err
	}
	for id, key := range next.current {
		was, ok := old.current[id]
		changed = changed || !ok || was.ID() != key.ID()
	}
	if changed || len(next.retired) != len(old.retired) {
		s.present.Store(&next)
	}
	return changed, nil
}

// sign makes the keyring of next's keys. old, if not nil, is the present snapshot,
// whose sessions go on.
func (s *Store) sign(next, old *snapshot) error {
	var was signing
	if old != nil {
		was = old.signing
	}
	current := s.storedKeys(next, was)
	maps.Copy(current, next.declaredKeys)
	now := time.Now()
	var retired []session.Retired
	for _, r := range was.retired {
		if key, ok := current[r.AccessID]; ok && key.ID() != r.Key.ID() && now.Before(r.Until) {
			retired = append(retired, r)
		}
	}
	for id, key := range was.current {
		if replaced, ok := current[id]; ok && replaced.ID() != key.ID() && old.methods[id] != nil {
			retired = append(retired, session.Retired{
				AccessID: id, Key: key,
				Replaced: now.Add(keysInterval), Until: now.Add(old.methods[id].RenewableLife(now)),
			})
		}
	}
	sessions, err := session.NewKeyring(next.config.Issuer, current, retired...)
	if err != nil {
		return fmt.Errorf("make the keyring: %w", err)
	}
	next.signing = signing{sessions: sessions, current: current, signers: next.logins.Keys, retired: retired}
	return nil
}

// storedKeys are the keys of the store's auth methods. Those that are what they were
// are not made anew, which takes a tenth of a millisecond each.
func (s *Store) storedKeys(next *snapshot, was signing) map[string]*session.Key {
	current := make(map[string]*session.Key, len(next.logins.Keys)+len(next.declaredKeys))
	for id, signer := range next.logins.Keys {
		if key, ok := was.current[id]; ok && was.signers[id] == signer {
			current[id] = key
			continue
		}
		key, err := session.NewKey(signer)
		if err != nil {
			s.options.Logger.Error("a signing key can't be used", "access_id", id, "error", err)
			continue
		}
		current[id] = key
	}
	return current
}

// readFileKeys reads the keys of next's configuration file. Those that old has are
// ones that the store must not lose.
func (s *Store) readFileKeys(ctx context.Context, next, old *snapshot) error {
	var known map[string]crypto.Signer
	if old != nil {
		known = old.kept
	}
	current := make(map[string]*session.Key, len(next.config.AuthMethods))
	var ids []string
	for i := range next.config.AuthMethods {
		m := &next.config.AuthMethods[i]
		if m.SigningKeyFile == "" {
			ids = append(ids, m.AccessID)
			continue
		}
		private, err := keys.ReadFile(m.SigningKeyFile)
		if err != nil {
			return fmt.Errorf("auth method %q: %w", m.Name, err)
		}
		if current[m.AccessID], err = session.NewKey(private); err != nil {
			return fmt.Errorf("auth method %q: %s: %w", m.Name, m.SigningKeyFile, err)
		}
	}
	next.fileKeys = fileKeys{declaredKeys: current}
	if len(ids) == 0 {
		return nil
	}
	kept, err := s.options.Keys.Keys(ctx, ids, known)
	if err != nil {
		return err //nolint:wrapcheck // it says which key
	}
	for id, private := range kept {
		if current[id], err = session.NewKey(private); err != nil {
			return fmt.Errorf("kept signing key of access id %s: %w", id, err)
		}
	}
	next.kept = kept
	return nil
}
