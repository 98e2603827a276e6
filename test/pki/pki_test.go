package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/pki"
)

func TestCertificatesAreWhatTheySay(t *testing.T) {
	ca, err := pki.NewCA("one")
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.NewCA("two")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Server("gatepass-gateway.gatepass-system.svc", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	expired, err := ca.ServerUntil(time.Now().Add(-time.Hour), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.Client("somebody", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	serverAuth, clientAuth := x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	for _, row := range []struct {
		name  string
		pair  pki.Pair
		roots *x509.CertPool
		host  string
		usage x509.ExtKeyUsage
		valid bool
	}{
		{"a server is valid for its name", server, ca.Pool(), "gatepass-gateway.gatepass-system.svc", serverAuth, true},
		{"a server is valid for its address", server, ca.Pool(), "127.0.0.1", serverAuth, true},
		{"a server is not valid for another name", server, ca.Pool(), "example.com", serverAuth, false},
		{"a server is not valid under another authority", server, other.Pool(), "127.0.0.1", serverAuth, false},
		{"a server is not a client", server, ca.Pool(), "", clientAuth, false},
		{"an expired server is not valid", expired, ca.Pool(), "127.0.0.1", serverAuth, false},
		{"a client is valid", client, ca.Pool(), "", clientAuth, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := tls.X509KeyPair(row.pair.Cert, row.pair.Key); err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(row.pair.Cert)
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			_, err = cert.Verify(x509.VerifyOptions{Roots: row.roots, DNSName: row.host, KeyUsages: []x509.ExtKeyUsage{row.usage}})
			if (err == nil) != row.valid {
				t.Errorf("got %v", err)
			}
		})
	}
}
