package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func openDir(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func equal(t *testing.T, a, b crypto.Signer) bool {
	t.Helper()
	key, ok := a.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("the key is a %T", a)
	}
	return key.Equal(b)
}

func TestDirKeepsKeys(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	first, err := openDir(t, path).Keys(t.Context(), []string{"p-a", "p-b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := openDir(t, path).Keys(t.Context(), []string{"p-b", "p-a", "p-c"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !equal(t, first["p-a"], again["p-a"]) || !equal(t, first["p-b"], again["p-b"]) {
		t.Error("a key changed with a restart")
	}
	if equal(t, first["p-a"], first["p-b"]) || again["p-c"] == nil {
		t.Error("access ids don't have a key each")
	}
	for _, tt := range []struct {
		path string
		want os.FileMode
	}{{"signing-keys", 0o700 | os.ModeDir}, {"signing-keys/p-a.pem", 0o600}} {
		info, err := os.Stat(filepath.Join(path, tt.path))
		if err != nil || info.Mode() != tt.want {
			t.Errorf("%s: mode %v, %v", tt.path, info.Mode(), err)
		}
	}
	left, err := filepath.Glob(filepath.Join(path, "signing-keys", ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestDirGetsLostKeysBack(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	dir := openDir(t, path)
	first, err := dir.Keys(t.Context(), []string{"p-a"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(path, "signing-keys", "p-a.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Keys(t.Context(), []string{"p-a"}, first); err != nil {
		t.Fatal(err)
	}
	again, err := openDir(t, path).Keys(t.Context(), []string{"p-a"}, nil)
	if err != nil || !equal(t, first["p-a"], again["p-a"]) {
		t.Errorf("a key that the folder lost was replaced: %v", err)
	}
}

func TestDirWithTwoGateways(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	var got [8]map[string]crypto.Signer
	var wg sync.WaitGroup
	for i := range got {
		dir := openDir(t, path)
		wg.Go(func() {
			var err error
			if got[i], err = dir.Keys(t.Context(), []string{"p-a"}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range got {
		if !equal(t, got[0]["p-a"], got[i]["p-a"]) {
			t.Fatal("two gateways on one folder have different keys")
		}
	}
}

func TestDirRefuses(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	dir := openDir(t, path)
	for _, id := range []string{"../p-a", "/p-a", "p/a", "", ".."} {
		if _, err := dir.Keys(t.Context(), []string{id}, nil); err == nil {
			t.Errorf("the access id %q is accepted", id)
		}
	}
	name := filepath.Join(path, "signing-keys", "p-broken.pem")
	if err := os.WriteFile(name, []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := dir.Keys(t.Context(), []string{"p-broken"}, nil)
	if err == nil || !strings.Contains(err.Error(), "can't be read") || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadFile(name); err != nil || !strings.Contains(string(left), "c2VjcmV0") {
		t.Error("a key that can't be read was replaced; sessions signed with it would end")
	}
}

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
