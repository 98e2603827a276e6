package clientca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// issuingCA issues certificates of clients.
type issuingCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newCA(t *testing.T, name string) *issuingCA {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	template.Subject.CommonName = name
	ca := &issuingCA{cert: template}
	der := ca.sign(t, template, nil)
	ca.cert, ca.pem = parsed(t, der), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca
}

// sign signs a certificate with a new key, which becomes the CA's if it has none.
func (ca *issuingCA) sign(t *testing.T, template *x509.Certificate, into *tls.Certificate) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if ca.key == nil {
		ca.key = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		*into = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	return der
}

func parsed(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// client is a certificate of the CA's, for a time and a use.
func (ca *issuingCA) client(t *testing.T, notAfter time.Time, use x509.ExtKeyUsage) []tls.Certificate {
	t.Helper()
	var pair tls.Certificate
	ca.sign(t, &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: notAfter, ExtKeyUsage: []x509.ExtKeyUsage{use}}, &pair)
	return []tls.Certificate{pair}
}

// server is one that asks for certificates.
func server(t *testing.T, cas *CAs, how Demand, counted func(bool)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	own := s.TLS.Certificates
	s.Close()
	s = httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = cas.Admit(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: own}, how, counted)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// admits says whether the server answers over a new connection with a certificate.
func admits(t *testing.T, s *httptest.Server, certificates []tls.Certificate) bool {
	t.Helper()
	own, ok := s.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatalf("a transport of type %T", s.Client().Transport)
	}
	transport := own.Clone()
	// A client that is asked for a certificate of certain CAs sends none of another;
	// this one sends what it has.
	transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(certificates) == 0 {
			return &tls.Certificate{}, nil
		}
		return &certificates[0], nil
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	res, err := client.Get(s.URL)
	if err != nil {
		if !strings.Contains(err.Error(), "tls:") {
			t.Errorf("not refused by TLS: %v", err)
		}
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusNotFound
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ours, theirs := newCA(t, "ours"), newCA(t, "theirs")
	later := time.Now().Add(time.Hour)
	for _, how := range []Demand{Optional, Required} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "clients.pem")
			write(t, file, ours.pem)
			cas, err := New(file, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			var with, without atomic.Int64
			s := server(t, cas, how, func(has bool) {
				if has {
					with.Add(1)
				} else {
					without.Add(1)
				}
			})
			for _, tt := range []struct {
				name        string
				certificate []tls.Certificate
				admitted    bool
			}{
				{"no certificate", nil, how == Optional},
				{"one of the CA", ours.client(t, later, x509.ExtKeyUsageClientAuth), true},
				{"one of another CA", theirs.client(t, later, x509.ExtKeyUsageClientAuth), false},
				{"one that has expired", ours.client(t, time.Now().Add(-time.Minute), x509.ExtKeyUsageClientAuth), false},
				{"one of a server", ours.client(t, later, x509.ExtKeyUsageServerAuth), false},
			} {
				if got := admits(t, s, tt.certificate); got != tt.admitted {
					t.Errorf("%s: admitted is %v", tt.name, got)
				}
			}
			if want := map[Demand]int64{Optional: 1}[how]; with.Load() != 1 || without.Load() != want {
				t.Errorf("%d connections with a certificate are counted, and %d without", with.Load(), without.Load())
			}

			write(t, file, theirs.pem)
			if failure := cas.poll(""); failure != "" {
				t.Fatal(failure)
			}
			if admits(t, s, ours.client(t, later, x509.ExtKeyUsageClientAuth)) || !admits(t, s, theirs.client(t, later, x509.ExtKeyUsageClientAuth)) {
				t.Error("the changed file is not followed")
			}
			write(t, file, theirs.pem[:len(theirs.pem)-10])
			if failure := cas.poll(""); !strings.Contains(failure, "holds no certificate") {
				t.Errorf("failure %q", failure)
			}
			if !admits(t, s, theirs.client(t, later, x509.ExtKeyUsageClientAuth)) {
				t.Error("a broken file ended what was in use")
			}
		})
	}
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestClientCAsThatCantBeUsed(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "ours").pem
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})
	for _, tt := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"nothing", nil, "holds no certificate"},
		{"a private key", key, "something else than a certificate"},
		{"a certificate and a private key", append(append([]byte{}, ca...), key...), "something else than a certificate in block 2"},
		{"half of the second certificate", append(append([]byte{}, ca...), ca[:len(ca)/2]...), "cut off in block 2"},
		{"something that is no certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "can't be read"},
		{"more than a Secret holds", make([]byte, maxFile+1), "has more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "clients.pem")
			write(t, file, tt.content)
			if _, err := New(file, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("a file that is not there", func(t *testing.T) {
		t.Parallel()
		if _, err := New(filepath.Join(t.TempDir(), "none"), slog.New(slog.DiscardHandler)); err == nil {
			t.Error("no error")
		}
	})
}
