package command

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
)

// pemOf reads PEM, or base64 of it, which is how the API hands keys and
// certificates out.
func pemOf(field, text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	data := []byte(text)
	if !strings.HasPrefix(text, "-----BEGIN ") {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, invalid(field, "it is neither PEM nor base64 of PEM")
		}
		data = decoded
	}
	if block, _ := pem.Decode(data); block == nil {
		return nil, invalid(field, "it is neither PEM nor base64 of PEM")
	}
	return data, nil
}

// algorithm is the one that sessions of a key are signed with; empty if there
// is no key.
func algorithm(publicKey string) string {
	block, _ := pem.Decode([]byte(publicKey))
	if block == nil {
		return ""
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return ""
	}
	switch key.(type) {
	case *ecdsa.PublicKey:
		return "ES256"
	case *rsa.PublicKey:
		return "RS256"
	}
	return ""
}
