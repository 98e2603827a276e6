package keys

import (
	"context"
	"errors"
	"time"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// storedKey is where the store keeps the keys.
const storedKey = seal.Prefix + "session-keys"

// Sealer seals keys. Package seal has one.
type Sealer interface {
	Seal(recordKey string, value []byte) ([]byte, error)
	Open(recordKey string, sealed []byte) ([]byte, error)
}

// stored keeps keys, sealed, in the gateway's store, for all gateways of it.
type stored struct {
	store store.Store
	seal  Sealer
}

// NewStored makes a ring whose keys are in a store. Rotation is how long a key signs
// before another takes its place; zero means until Rotate.
func NewStored(s store.Store, sealer Sealer, rotation time.Duration) *Ring {
	return &Ring{&stored{store: s, seal: sealer}, rotation}
}

func (*stored) String() string { return "the store" }

// read implements place.
func (s *stored) read(ctx context.Context) ([]byte, func(context.Context, []byte) error, error) {
	found, err := s.store.Get(ctx, storedKey)
	var text []byte
	if errors.Is(err, store.ErrNotFound) {
		found, err = store.Item{Revision: store.Absent}, nil
	} else if err == nil {
		text, err = s.seal.Open(storedKey, found.Value)
	}
	if err != nil {
		return nil, nil, err
	}
	return text, func(ctx context.Context, text []byte) error {
		sealed, err := s.seal.Seal(storedKey, text)
		if err != nil {
			return err //nolint:wrapcheck // it says what it did
		}
		_, err = s.store.Commit(ctx, store.Update(storedKey, sealed, found.Revision))
		if errors.Is(err, store.ErrConflict) {
			return errConflict
		}
		return err
	}, nil
}
