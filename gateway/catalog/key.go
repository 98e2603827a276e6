package catalog

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/session"
)

// publicPEM is the type of a public key in PEM (RFC 7468, section 13).
const publicPEM = "PUBLIC KEY"

// generateKey makes the key pair of an auth method, in PEM.
func generateKey() (private []byte, public string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("generate a key pair: %w", err)
	}
	if private, err = keys.Encode(key); err != nil {
		return nil, "", err //nolint:wrapcheck // it says what it did
	}
	public, err = encodePublicKey(key.Public())
	return private, public, err
}

func encodePublicKey(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("encode a public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: publicPEM, Bytes: der})), nil
}

// parsePublicKey returns the one spelling of a public key in PEM.
func parsePublicKey(text string) (string, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return "", invalid("the public key is not PEM")
	}
	var key crypto.PublicKey
	var err error
	switch block.Type {
	case publicPEM:
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		}
	default:
		return "", invalid("the public key is PEM of a %s; give a PUBLIC KEY", block.Type)
	}
	if err != nil {
		return "", invalid("the public key can't be read")
	}
	if err := session.CheckPublicKey(key); err != nil {
		return "", invalid("the public key: %w", err)
	}
	return encodePublicKey(key)
}

// parsePrivateKey reads the private half of an auth method's key pair. Its errors hold
// none of it.
func parsePrivateKey(text []byte) (crypto.Signer, error) {
	key, err := keys.Parse(text)
	if err != nil {
		return nil, invalid("the signing key %w", err)
	}
	if err := session.CheckPublicKey(key.Public()); err != nil {
		return nil, invalid("the signing key: %w", err)
	}
	return key, nil
}
