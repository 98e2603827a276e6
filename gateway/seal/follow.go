package seal

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"
)

// pollInterval is how often the key file is read. See docs/decisions/0004.
const pollInterval = time.Second

// Follow takes every change of the key file into use until ctx is done. A file
// that can't be used changes nothing. It returns nil.
func (s *Sealer) Follow(ctx context.Context) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		_ = s.Refresh() // it has told
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Refresh takes the key file into use as it is now. A file that can't be used changes
// nothing.
func (s *Sealer) Refresh() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.poll()
	s.failure = ""
	if err != nil {
		s.failure = err.Error()
		return fmt.Errorf("read the key file: %w", err)
	}
	return nil
}

// poll takes the file into use if it changed. It returns why it can't be used, and
// does not repeat what was the reason before. s.mu is held.
func (s *Sealer) poll() error {
	content, err := readBounded(s.File)
	defer clear(content)
	digest := sha256.Sum256(content)
	if err == nil && digest == s.digest {
		if s.failure != "" {
			s.Logger.Info("the key file is as it was when it could be used", "file", s.File)
			s.tell(nil)
		}
		return nil
	}
	var keys *keyring
	if err == nil {
		keys, err = parse(content)
	}
	if err == nil {
		s.digest = digest
		s.use(keys)
		return nil
	}
	if err.Error() != s.failure {
		s.Logger.Error("the key file can't be used; the last good keys stay in use", "file", s.File, "error", err)
		s.tell(err)
	}
	return err
}

// use takes keys into use, and tells which come and go.
func (s *Sealer) use(keys *keyring) {
	old := s.keys.Swap(keys)
	removed := missing(old, keys)
	s.Logger.Info("key file taken into use", "file", s.File, "added", missing(keys, old), "removed", removed)
	if len(removed) > 0 {
		s.Logger.Warn("what is sealed under removed keys can't be opened any more", "file", s.File, "removed", removed)
	}
	s.tell(nil)
}

func (s *Sealer) tell(err error) {
	if s.Reloaded != nil {
		s.Reloaded(err)
	}
}

// missing returns the ids of keys that another ring lacks.
func missing(keys, other *keyring) []string {
	var ids []string
	for _, k := range keys.keys {
		if other.find(k.id) == nil {
			ids = append(ids, k.id)
		}
	}
	slices.Sort(ids)
	return ids
}
