package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/session"
)

const (
	// Ahead is how long a key is published before it signs. Until then other gateways
	// have read it, and whoever keeps the published keys as long as they may has
	// fetched them again.
	Ahead = 2 * session.KeysMaxAge
	// DefaultRotation is how long a key signs.
	DefaultRotation = 30 * 24 * time.Hour
	// MinRotation keeps those that wait to sign and those that still verify few.
	MinRotation = time.Hour

	// margin is how much longer a key verifies than its last session lives.
	margin = time.Minute
	// spared are how many keys, the latest, are kept whatever the clock says: that
	// of the gateway that replaces a key may be ahead by days.
	spared = 8
)

// errConflict means that another gateway has changed the keys.
var errConflict = errors.New("another gateway has changed the signing keys")

// place is where a Ring keeps its keys.
type place interface {
	// read returns what is kept, nil if that is nothing, and what replaces it, which
	// fails with errConflict if it is not what was read any more.
	read(ctx context.Context) (text []byte, replace func(context.Context, []byte) error, err error)
	// String names it.
	String() string
}

// Ring keeps the keys of all gateways that share a place, and replaces them in time.
// It is safe for concurrent use.
type Ring struct {
	place    place
	rotation time.Duration
}

// document is what a place keeps.
type document struct {
	Keys []entry `json:"keys"`
}

type entry struct {
	// From is when the key begins to sign, and Key its PEM.
	From time.Time `json:"from"`
	Key  string    `json:"key"`
}

// Keys implements Source.
func (r *Ring) Keys(ctx context.Context, known []Key) ([]Key, error) {
	return r.change(ctx, func(keys []Key, now time.Time) ([]Key, error) {
		switch {
		case len(keys) == 0 && len(known) > 0:
			return known, nil
		case len(keys) == 0:
			return with(nil, now)
		case r.rotation > 0 && !now.Before(keys[len(keys)-1].From.Add(r.rotation-Ahead)):
			return with(living(keys, now), now.Add(Ahead))
		}
		return nil, nil
	})
}

// Rotate adds a key, which signs from the returned time on. If one is there already
// that does not sign yet, it is that one.
func (r *Ring) Rotate(ctx context.Context) (from time.Time, err error) {
	keys, err := r.change(ctx, func(keys []Key, now time.Time) ([]Key, error) {
		switch {
		case len(keys) == 0:
			return nil, errNone
		case keys[len(keys)-1].From.After(now):
			return nil, nil
		}
		return with(living(keys, now), now.Add(Ahead))
	})
	if err != nil {
		return time.Time{}, err
	}
	return keys[len(keys)-1].From, nil
}

// Replace puts a key in the place of all others, which verify nothing any more: all
// sessions end. It is for keys that were stolen.
func (r *Ring) Replace(ctx context.Context) error {
	_, err := r.change(ctx, func(keys []Key, now time.Time) ([]Key, error) {
		if len(keys) == 0 {
			return nil, errNone
		}
		return with(nil, now)
	})
	return err
}

// errNone keeps a command from making keys where no gateway looks for them.
var errNone = errors.New("there are none; is it where the gateways keep them?")

// attempts bounds the race between gateways that start together.
const attempts = 5

// change writes what decide makes of the keys, if it makes anything of them, and
// returns those that are there then. Of two gateways that do it at once one loses,
// and decides again.
func (r *Ring) change(ctx context.Context, decide func(keys []Key, now time.Time) ([]Key, error)) (keys []Key, err error) {
	for range attempts {
		if keys, err = r.try(ctx, decide); !errors.Is(err, errConflict) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("signing keys in %s: %w", r.place, err)
	}
	return keys, nil
}

func (r *Ring) try(ctx context.Context, decide func([]Key, time.Time) ([]Key, error)) ([]Key, error) {
	text, replace, err := r.place.read(ctx)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	keys, err := decode(text)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	next, err := decide(keys, now)
	if err != nil {
		return nil, err
	}
	if len(next) > 0 {
		written, err := encode(next)
		if err != nil {
			return nil, err
		}
		defer clear(written)
		if err := replace(ctx, written); err != nil {
			return nil, err
		}
		keys = next
	}
	return inUse(keys, now), nil
}

// inUse are the keys of which sessions may live, with their ends.
func inUse(keys []Key, now time.Time) []Key {
	var used []Key
	for i, key := range keys {
		if i < len(keys)-1 {
			key.Until = keys[i+1].From.Add(session.MaxLife + margin)
		}
		if key.Until.IsZero() || now.Before(key.Until) {
			used = append(used, key)
		}
	}
	return used
}

// living leaves out keys that have ended, but the latest of them.
func living(keys []Key, now time.Time) []Key {
	ended := len(keys) - len(inUse(keys, now))
	return keys[max(0, min(ended, len(keys)-spared)):]
}

// with adds a key. P-256 signs some thirty times as fast as RSA with 2048 bits.
func with(keys []Key, from time.Time) ([]Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	return append(keys[:len(keys):len(keys)], Key{Private: private, From: from.Truncate(time.Second)}), nil
}

func encode(keys []Key) ([]byte, error) {
	var d document
	for _, key := range keys {
		text, err := Encode(key.Private)
		if err != nil {
			return nil, err
		}
		d.Keys = append(d.Keys, entry{key.From, string(text)})
		clear(text)
	}
	text, err := json.Marshal(&d)
	if err != nil {
		return nil, fmt.Errorf("write them: %w", err)
	}
	return text, nil
}

// decode reads what encode wrote. Its errors hold nothing of it.
func decode(text []byte) ([]Key, error) {
	if text == nil {
		return nil, nil
	}
	var d document
	if json.Unmarshal(text, &d) != nil || len(d.Keys) == 0 {
		return nil, errors.New("what is there can't be read")
	}
	keys := make([]Key, 0, len(d.Keys))
	for _, e := range d.Keys {
		private, err := Parse([]byte(e.Key))
		if err == nil {
			err = session.CheckPublicKey(private.Public())
		}
		if err != nil {
			return nil, fmt.Errorf("the key from %s on: %w", e.From.Format(time.RFC3339), err)
		}
		if n := len(keys); n > 0 && e.From.Before(keys[n-1].From) {
			return nil, errors.New("what is there is not in order")
		}
		keys = append(keys, Key{Private: private, From: e.From})
	}
	return keys, nil
}

// Same reports whether two lists have the same keys with the same times.
func Same(a, b []Key) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		public, ok := a[i].Private.Public().(interface {
			Equal(other crypto.PublicKey) bool
		})
		if !ok || !public.Equal(b[i].Private.Public()) || !a[i].From.Equal(b[i].From) || !a[i].Until.Equal(b[i].Until) {
			return false
		}
	}
	return true
}
