package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/internal/clientca"
)

// selfIssued is a certificate of a client that is its own CA.
func selfIssued(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestTheAPIAsksForCertificatesAndProbesDoNot(t *testing.T) {
	t.Parallel()
	pair, ca := selfIssued(t)
	file := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	cas, err := clientca.New(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, http.NotFoundHandler(), 0, func() error { return nil }, func(o *ServerOptions) {
		o.ClientCAs, o.ClientCertificates = cas, clientca.Required
	})
	if res, err := r.client.Get(r.api); err == nil || !strings.Contains(err.Error(), "tls:") {
		t.Errorf("a client without a certificate: %v, %v", res, err)
	}
	if status, text := r.get(t, r.health+"/readyz"); status != http.StatusOK {
		t.Errorf("a probe without a certificate: %d %s", status, text)
	}
	own, ok := r.client.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("a transport of type %T", r.client.Transport)
	}
	own.TLSClientConfig.Certificates = []tls.Certificate{pair}
	if status, text := r.get(t, r.api); status != http.StatusNotFound {
		t.Errorf("a client with a certificate: %d %s", status, text)
	}
	for certificate, want := range map[string]float64{"verified": 1, "none": 0} {
		if n := gauge(t, r.registry, "gatepass_gateway_client_certificates_total "+certificate); n != want {
			t.Errorf("%v connections with certificate %s are counted", n, certificate)
		}
	}
}
