package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// storedPrefix is where Stored keeps keys.
const storedPrefix = seal.Prefix + "declared-signing-key/"

// Sealer seals keys. Package seal has one.
type Sealer interface {
	Seal(recordKey string, value []byte) ([]byte, error)
	Open(recordKey string, sealed []byte) ([]byte, error)
}

// Stored keeps keys, sealed, in the gateway's store, for all gateways of it.
type Stored struct {
	store store.Store
	seal  Sealer
}

// NewStored keeps keys in a store.
func NewStored(s store.Store, sealer Sealer) *Stored { return &Stored{store: s, seal: sealer} }

// Keys implements Store.
func (s *Stored) Keys(ctx context.Context, accessIDs []string, known map[string]crypto.Signer) (map[string]crypto.Signer, error) {
	keys := make(map[string]crypto.Signer, len(accessIDs))
	for _, id := range accessIDs {
		key, err := s.key(ctx, id, known[id])
		if err != nil {
			return nil, fmt.Errorf("signing key of access id %s: %w", id, err)
		}
		keys[id] = key
	}
	return keys, nil
}

func (s *Stored) key(ctx context.Context, accessID string, known crypto.Signer) (crypto.Signer, error) {
	name := storedPrefix + accessID
	key, err := s.read(ctx, name)
	if !errors.Is(err, store.ErrNotFound) {
		return key, err
	}
	_, encoded, err := missing(known)
	if err != nil {
		return nil, err
	}
	defer clear(encoded)
	sealed, err := s.seal.Seal(name, encoded)
	if err != nil {
		return nil, fmt.Errorf("keep a new signing key: %w", err)
	}
	_, err = s.store.Commit(ctx, store.Create(name, sealed))
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return nil, fmt.Errorf("keep a new signing key: %w", err)
	}
	// Read back: another gateway of the store may have been first.
	return s.read(ctx, name)
}

func (s *Stored) read(ctx context.Context, name string) (crypto.Signer, error) {
	item, err := s.store.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	text, err := s.seal.Open(name, item.Value)
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	defer clear(text)
	key, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the signing key %w", err)
	}
	return key, nil
}
