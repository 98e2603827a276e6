// Package keys keeps the private keys that the gateway signs sessions with: sealed in
// the gateway's store, in a Kubernetes Secret, or in a file of the administrator's.
// They belong to the gateway as a whole, and nobody is ever told one.
package keys

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gatepass/gatepass/gateway/session"
)

// Key is one of the gateway's keys.
type Key struct {
	Private crypto.Signer
	// From is when it begins to sign; of several whose time has come, the latest
	// signs.
	From time.Time
	// Until is when the last session that it has signed has ended; zero means that
	// it has no end yet.
	Until time.Time
}

// Source has the gateway's keys. Ring and File are ones.
type Source interface {
	// Keys returns the keys that sign or verify now, the earliest first; there is one
	// at least. Known are those that it returned before: if it has lost them it gets
	// them back, because there are sessions that they signed.
	Keys(ctx context.Context, known []Key) ([]Key, error)
}

// File has keys that the administrator keeps: PEM, one after the other. The first
// signs, and all verify.
type File string

// Keys implements Source.
func (f File) Keys(context.Context, []Key) ([]Key, error) {
	signers, err := readFile(string(f))
	if err != nil {
		return nil, fmt.Errorf("signing keys in %s: %w", f, err)
	}
	keys := make([]Key, 0, len(signers))
	for i := range signers {
		// From says which signs, and no more.
		keys = append(keys, Key{Private: signers[len(signers)-1-i], From: time.Unix(int64(i), 0).UTC()})
	}
	return keys, nil
}

// maxFileSize bounds a key file. The PEM of an 8192-bit RSA key has 6.4 KB.
const maxFileSize = 64 << 10

// pemType is what PKCS #8 calls itself (RFC 7468, section 10).
const pemType = "PRIVATE KEY"

// readFile reads all private keys of a file. Errors never hold any of its content.
func readFile(name string) (signers []crypto.Signer, err error) {
	file, err := os.Open(name) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize))
	defer clear(data)
	for rest := data; err == nil; {
		var key crypto.Signer
		key, rest, err = parse(rest)
		switch {
		case errors.Is(err, errNoKey) && len(signers) > 0:
			return signers, nil
		case err == nil:
			err = session.CheckPublicKey(key.Public())
			signers = append(signers, key)
		}
	}
	return nil, err
}

// Encode writes a private key in PEM.
func Encode(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a signing key: %w", err)
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

var errNoKey = errors.New("holds no PEM private key")

// Parse reads a private key in PEM: PKCS #8, or the older forms of EC and RSA keys.
// Its errors are made to follow the name of what was read, and hold nothing of it.
func Parse(data []byte) (crypto.Signer, error) {
	key, _, err := parse(data)
	return key, err
}

// parse returns what follows the key, too.
func parse(data []byte) (key crypto.Signer, rest []byte, err error) {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return nil, nil, errNoKey
		}
		var parsed any
		switch block.Type {
		case pemType:
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, nil, errors.New("is encrypted; give it without a passphrase")
		default:
			continue // openssl writes "EC PARAMETERS" before the key
		}
		if err != nil {
			return nil, nil, errors.New("holds a private key that can't be read")
		}
		signer, ok := parsed.(crypto.Signer)
		if !ok {
			return nil, nil, fmt.Errorf("holds a %T, which can't sign", parsed)
		}
		return signer, data, nil
	}
}
