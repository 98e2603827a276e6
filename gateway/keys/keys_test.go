package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rs)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string // "" for success
	}{
		{"an EC key as openssl writes it", append(block("EC PARAMETERS", []byte{6, 1, 0}), block("EC PRIVATE KEY", sec1)...), ""},
		{"an RSA key of PKCS #1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs)), ""},
		{"an RSA key of PKCS #8", block("PRIVATE KEY", pkcs8), ""},
		{"an encrypted key", block("ENCRYPTED PRIVATE KEY", pkcs8), "encrypted"},
		{"a certificate", block("CERTIFICATE", []byte("x")), "holds no PEM private key"},
		{"nothing", nil, "holds no PEM private key"},
		{"a key that is cut off", block("PRIVATE KEY", pkcs8[:100]), "can't be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key, err := Parse(tt.data)
			if tt.want == "" && (err != nil || key == nil) {
				t.Errorf("error %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSecretName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "name", "/name", "namespace/", "a/b/c"} {
		if _, err := NewSecret(SecretOptions{Name: name}); err == nil || !strings.Contains(err.Error(), "NAMESPACE/NAME") {
			t.Errorf("%q: error %v", name, err)
		}
	}
}
