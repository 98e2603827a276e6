// Package seal encrypts the records that nobody may read where they are stored:
// in the database, in its backups, on the way to etcd.
//
// # What is sealed
//
// Records under Prefix are sealed whole: secrets, so that nobody reads them, and all
// that decides who may read them, so that nobody without the keys makes it up. Keys
// of records are never encrypted, so a name must not be a secret.
//
// A value is sealed with AES-256-GCM by github.com/tink-crypto/tink-go, with a
// fresh random nonce, and bound to the key of its record: copied to another
// record, it does not open. It is not bound to time: who can write the store can
// put an older value of the same record back.
//
// # The key file
//
// The keys lie in a file outside the store, which may be a mounted Secret. It has
// a line for each key; empty lines and those that start with # are ignored:
//
//	# id       seals from            32 random bytes in base64
//	k1f0a9c3e  2026-11-01T00:00:00Z  VGhpcyBpcyBub3QgYSByZWFsIGtleSwgb2YgY291cnM=
//	k77b2d410  2026-12-01T00:00:00Z  …
//
// Every key opens what it sealed. Of those whose time has come, the one with the
// latest time seals; if no time has come yet, that with the earliest.
//
// To rotate, add a key that seals from when every gateway has got the file: some
// minutes later for a mounted Secret. After that time, Reseal seals everything
// under it, and the old key can go when Survey finds nothing under it any more,
// and no backup is left that needs it. One key may seal 2^32 values (NIST SP
// 800-38D, section 8.3).
package seal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
)

// Prefix is what the keys of all sealed records start with.
const Prefix = "sealed/"

// Overhead is how much larger a sealed value is, at most.
const Overhead = 2 + maxID + nonceSize + tagSize

// MaxValue is how many bytes a value may have to be sealed.
const MaxValue = store.MaxValue - Overhead

// Sizes of AES-GCM as RFC 5116, section 5.2, has it.
const (
	nonceSize = 12
	tagSize   = 16
)

// envelopeVersion is the first byte of a sealed value. Text and JSON, which other
// records are, don't start with it.
const envelopeVersion = 1

// Errors that a caller may tell apart.
var (
	// ErrMissingKey means that a value was sealed under a key that the key file
	// does not have.
	ErrMissingKey = errors.New("a key is missing from the key file")
	// ErrBroken means that a value does not open: it was changed, or belongs to
	// another record, or its key was replaced under the same id.
	ErrBroken = errors.New("the sealed value does not open")
)

// Options configure New.
type Options struct {
	// File is the key file.
	File string
	// Reloaded is told the outcome of every change of the file. It is optional.
	Reloaded func(error)
	Logger   *slog.Logger
}

// Sealer seals and opens values. It is safe for concurrent use.
type Sealer struct {
	Options

	keys atomic.Pointer[keyring]

	mu     sync.Mutex
	digest [sha256.Size]byte // of the file
	// failure is why the file could not be used the last time.
	failure string
}

// New reads the key file.
func New(o Options) (*Sealer, error) {
	s := &Sealer{Options: o}
	content, err := readBounded(o.File)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	defer clear(content)
	keys, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", o.File, err)
	}
	s.keys.Store(keys)
	s.digest = sha256.Sum256(content)
	return s, nil
}

// Current returns the id of the key that seals now.
func (s *Sealer) Current() string { return s.keys.Load().current(time.Now()).id }

// Seal seals the value of a record. The value remains the caller's, to be cleared.
func (s *Sealer) Seal(recordKey string, value []byte) ([]byte, error) {
	if len(value) > MaxValue {
		return nil, fmt.Errorf("seal %s: %w value: it has %d bytes; at most %d are kept", recordKey, store.ErrInvalid, len(value), MaxValue)
	}
	key := s.keys.Load().current(time.Now())
	header := append([]byte{envelopeVersion, byte(len(key.id))}, key.id...) //nolint:gosec // an id has at most maxID bytes
	sealed, err := key.cipher.Encrypt(value, associated(header, recordKey))
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", recordKey, err)
	}
	return append(header, sealed...), nil
}

// Open returns the value of a record. It is the caller's, to be cleared.
func (s *Sealer) Open(recordKey string, sealed []byte) ([]byte, error) {
	id, header, body, err := split(sealed)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", recordKey, err)
	}
	key := s.keys.Load().find(id)
	if key == nil {
		return nil, fmt.Errorf("open %s: %w: put the line of the key %s back into %s", recordKey, ErrMissingKey, id, s.File)
	}
	value, err := key.cipher.Decrypt(body, associated(header, recordKey))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w with the key %s", recordKey, ErrBroken, id)
	}
	return value, nil
}

// associated is what a value is bound to: its own header, and its record.
func associated(header []byte, recordKey string) []byte {
	return append(append([]byte("gatepass seal\x00"), header...), recordKey...)
}

// split takes a sealed value apart.
func split(sealed []byte) (id string, header, body []byte, err error) {
	if len(sealed) < 2 || sealed[0] != envelopeVersion {
		return "", nil, nil, fmt.Errorf("%w: it is not sealed, or by a later version", ErrBroken)
	}
	size := 2 + int(sealed[1])
	if len(sealed) < size+nonceSize+tagSize || !validID(string(sealed[2:size])) {
		return "", nil, nil, fmt.Errorf("%w: it is cut off", ErrBroken)
	}
	return string(sealed[2:size]), sealed[:size:size], sealed[size:], nil
}
