package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

// FuzzParse: a private key that can be read is read again as it is written, and no
// error holds a part of what was given.
func FuzzParse(f *testing.F) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	encoded, err := Encode(ec)
	if err != nil {
		f.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		f.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rs)}))
	f.Add(append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}}), encoded...))
	f.Add([]byte(strings.Replace(string(encoded), "PRIVATE", "ENCRYPTED PRIVATE", 2)))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := Parse(data)
		if (key == nil) == (err == nil) {
			t.Fatalf("key %T and error %v", key, err)
		}
		if err != nil {
			if len(err.Error()) > 100 || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %q", err)
			}
			return
		}
		written, err := Encode(key)
		if err != nil {
			t.Fatalf("a %T can't be written: %v", key, err)
		}
		again, err := Parse(written)
		public, ok := key.Public().(interface{ Equal(x crypto.PublicKey) bool })
		if err != nil || ok && !public.Equal(again.Public()) {
			t.Errorf("a %T is another when it is read again: %v", key, err)
		}
	})
}
