package seal

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	tink "github.com/tink-crypto/tink-go/v2/aead/subtle"
)

const (
	// keySize is that of AES-256.
	keySize = 32
	// maxID is how many characters a key's id may have.
	maxID = 32
	// maxFileSize bounds a key file. A line has some 80 bytes.
	maxFileSize = 64 << 10
)

// key is a line of the key file.
type key struct {
	id     string
	from   time.Time
	cipher *tink.AESGCM
}

// keyring is a key file. It never changes.
type keyring struct {
	keys []*key // by from, the earliest first
}

// current returns the key that seals.
func (k *keyring) current(now time.Time) *key {
	for _, key := range slices.Backward(k.keys) {
		if !key.from.After(now) {
			return key
		}
	}
	return k.keys[0]
}

// find returns the key with an id, or nil.
func (k *keyring) find(id string) *key {
	for _, key := range k.keys {
		if key.id == id {
			return key
		}
	}
	return nil
}

// readBounded reads into one piece of memory, so that clearing it clears all.
func readBounded(name string) (content []byte, err error) {
	f, err := os.Open(name) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	content = make([]byte, maxFileSize+1)
	n, err := io.ReadFull(f, content)
	switch {
	case err == nil:
		clear(content)
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxFileSize)
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		clear(content)
		return nil, err
	}
	return content[:n], nil
}

// parse reads a key file. Errors hold none of its content but ids.
func parse(content []byte) (*keyring, error) {
	k := &keyring{}
	var secrets [][]byte
	defer func() {
		for _, secret := range secrets {
			clear(secret)
		}
	}()
	number := 0
	for line := range bytes.Lines(content) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, secret, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if k.find(key.id) != nil {
			return nil, fmt.Errorf("line %d: the id %s is there already", number, key.id)
		}
		if slices.ContainsFunc(secrets, func(other []byte) bool { return subtle.ConstantTimeCompare(other, secret) == 1 }) {
			return nil, fmt.Errorf("line %d: the key of %s is there already under another id", number, key.id)
		}
		k.keys, secrets = append(k.keys, key), append(secrets, secret)
	}
	if len(k.keys) == 0 {
		return nil, errors.New("it holds no key; make one")
	}
	slices.SortStableFunc(k.keys, func(a, b *key) int { return a.from.Compare(b.from) })
	return k, nil
}

// parseLine returns the secret too, for the caller to clear. The cipher has a copy
// of it that can't be cleared.
func parseLine(line []byte) (*key, []byte, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return nil, nil, fmt.Errorf("it has %d words; it must have an id, the time from which the key seals, and the key in base64", len(fields))
	}
	id := string(fields[0])
	if !validID(id) {
		return nil, nil, fmt.Errorf("an id has 1 to %d of a-z, 0-9 and -", maxID)
	}
	from, err := time.Parse(time.RFC3339, string(fields[1]))
	if err != nil {
		return nil, nil, fmt.Errorf("the key %s must seal from a time like 2026-11-01T00:00:00Z", id)
	}
	secret := make([]byte, base64.StdEncoding.DecodedLen(len(fields[2])))
	n, err := base64.StdEncoding.Strict().Decode(secret, fields[2])
	if err != nil || n != keySize {
		clear(secret)
		return nil, nil, fmt.Errorf("the key %s must be %d bytes in base64", id, keySize)
	}
	secret = secret[:n]
	cipher, err := tink.NewAESGCM(secret)
	if err != nil {
		clear(secret)
		return nil, nil, fmt.Errorf("the key %s can't be used", id)
	}
	return &key{id: id, from: from, cipher: cipher}, secret, nil
}

func validID(id string) bool {
	return id != "" && len(id) <= maxID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
