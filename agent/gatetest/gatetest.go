// Package gatetest helps tests to stand up a gateway that misbehaves: servers
// with certificates of every kind, and tokens that look real. The gateway that
// behaves is the real one, in package gateway.
package gatetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Authority is a certificate authority of one test.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority called name.
func NewAuthority(tb testing.TB, name string) *Authority {
	tb.Helper()
	key := newKey(tb)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-48 * time.Hour),
		NotAfter:              time.Now().Add(48 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &Authority{cert, key}
}

// PEM returns the authority's certificate.
func (a *Authority) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// Leaf describes a serving certificate. The zero value is one for 127.0.0.1
// that is valid now.
type Leaf struct {
	// Names replace the address 127.0.0.1.
	Names []string
	// From and Until bound its validity; an hour ago and in an hour if zero.
	From, Until time.Time
	// Usage replaces server authentication.
	Usage x509.ExtKeyUsage
}

// Issue makes a serving certificate.
func (a *Authority) Issue(tb testing.TB, leaf Leaf) tls.Certificate {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "gateway"},
		NotBefore:    leaf.From,
		NotAfter:     leaf.Until,
		DNSNames:     leaf.Names,
		ExtKeyUsage:  []x509.ExtKeyUsage{leaf.Usage},
	}
	if leaf.Usage == x509.ExtKeyUsageAny {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if leaf.From.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if leaf.Until.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	if len(leaf.Names) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	key := newKey(tb)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// NewServer serves handler over TLS with a certificate from a new authority,
// until the test ends. It returns the server's address and the authority.
func NewServer(tb testing.TB, handler http.HandlerFunc) (url string, authority *Authority) {
	tb.Helper()
	authority = NewAuthority(tb, "gatetest authority")
	return Serve(tb, authority.Issue(tb, Leaf{}), handler), authority
}

// Serve is NewServer with a certificate of the caller's.
func Serve(tb testing.TB, cert tls.Certificate, handler http.HandlerFunc) (url string) {
	tb.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are what some tests want
	server.StartTLS()
	tb.Cleanup(server.Close)
	return server.URL
}

// Token returns a text with the form of a signed JWT that carries claims.
func Token(tb testing.TB, claims map[string]any) string {
	tb.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signature := make([]byte, 64)
	if _, err := rand.Read(signature); err != nil {
		tb.Fatal(err)
	}
	return encode([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encode(payload) + "." + encode(signature)
}

// Grant answers a login with token.
func Grant(w http.ResponseWriter, token string, expiry time.Time) {
	answer(w, http.StatusOK, map[string]any{
		"token":      token,
		"expiration": expiry.UTC().Format(time.RFC3339),
		"creds":      map[string]any{"token": token, "expiry": expiry.Unix()},
	})
}

// Refuse answers with an error of the V2 API.
func Refuse(w http.ResponseWriter, status int, reason string) {
	answer(w, status, map[string]any{"error": reason})
}

// Hang answers nothing for as long as the client waits, and nothing then: the end of
// a handler would be an answer, which a client that is just giving up may still read.
func Hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // a server sees that the client is gone only after the body
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings and numbers can be marshalled
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may have gone, on purpose
}
