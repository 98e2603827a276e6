// Package keys keeps the private keys that sessions are signed with: in the
// gateway's store, sealed, or in a Kubernetes Secret.
package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// Store keeps one key for each access id.
type Store interface {
	// Keys returns a key for each access id. A key that is missing is generated
	// and kept before it is returned, so that nothing is ever signed with a key
	// that another gateway, or this one after a restart, does not know. If the
	// missing key is in known, it is that one which is kept: the store lost it,
	// and there are sessions that it signed.
	Keys(ctx context.Context, accessIDs []string, known map[string]crypto.Signer) (map[string]crypto.Signer, error)
}

// maxFileSize bounds a key file. The PEM of an 8192-bit RSA key has 6.4 KB.
const maxFileSize = 64 << 10

// pemType is what PKCS #8 calls itself (RFC 7468, section 10).
const pemType = "PRIVATE KEY"

// ReadFile reads a private key in PEM: PKCS #8, or the older forms of EC and
// RSA keys. Errors never hold any of its content.
func ReadFile(name string) (key crypto.Signer, err error) {
	data, err := readFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	key, err = Parse(data)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", name, err)
	}
	return key, nil
}

func readFile(name string) (data []byte, err error) {
	f, err := os.Open(name) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxFileSize))
}

// missing returns the key to keep where there is none: the known one, or that
// of a new auth method. P-256 signs some thirty times as fast as RSA with 2048
// bits.
func missing(key crypto.Signer) (crypto.Signer, []byte, error) {
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, fmt.Errorf("generate a signing key: %w", err)
		}
	}
	encoded, err := Encode(key)
	return key, encoded, err
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

// Parse reads a private key as ReadFile does. Its errors are made to follow the
// name of what was read.
func Parse(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return nil, errors.New("holds no PEM private key")
		}
		var key any
		var err error
		switch block.Type {
		case pemType:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("is encrypted; give it without a passphrase")
		default:
			continue // openssl writes "EC PARAMETERS" before the key
		}
		if err != nil {
			return nil, errors.New("holds a private key that can't be read")
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("holds a %T, which can't sign", key)
		}
		return signer, nil
	}
}
