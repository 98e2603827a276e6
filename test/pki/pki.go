// Package pki makes certificates for tests: an authority and what it signs.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Validity is how long certificates last unless a test says otherwise.
const Validity = 24 * time.Hour

// backdated is how long certificates have been valid when they are made: as in
// a cluster of some age, they are for programs whose clock is a little behind.
const backdated = time.Hour

// serialBits is below the 159 usable bits of RFC 5280, 4.1.2.2.
const serialBits = 128

// CA is a certificate authority in memory.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Pair is a certificate and its key, as PEM.
type Pair struct{ Cert, Key []byte }

// NewCA makes an authority with a fresh key.
func NewCA(name string) (*CA, error) {
	template, err := newTemplate(name, time.Now().Add(10*Validity))
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make authority %s: %w", name, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make authority %s: %w", name, err)
	}
	return &CA{cert: cert, key: key}, nil
}

func newTemplate(name string, notAfter time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("make certificate %s: %w", name, err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-backdated),
		NotAfter:     notAfter,
	}, nil
}

// PEM is the authority's certificate.
func (ca *CA) PEM() []byte { return certPEM(ca.cert.Raw) }

// Pool holds the authority's certificate only.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Server issues a serving certificate for DNS names and IP addresses.
func (ca *CA) Server(hosts ...string) (Pair, error) {
	return ca.ServerUntil(time.Now().Add(Validity), hosts...)
}

// ServerUntil is Server with an end of validity, which may lie in the past.
func (ca *CA) ServerUntil(notAfter time.Time, hosts ...string) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, errors.New("issue a serving certificate: name at least one host")
	}
	template, err := newTemplate(hosts[0], notAfter)
	if err != nil {
		return Pair{}, err
	}
	if notAfter.Before(template.NotBefore) {
		template.NotBefore = notAfter.Add(-Validity)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return ca.sign(template)
}

// Client issues a client certificate; Kubernetes reads the user from the name
// and the groups from the organizations.
func (ca *CA) Client(name string, groups ...string) (Pair, error) {
	template, err := newTemplate(name, time.Now().Add(Validity))
	if err != nil {
		return Pair{}, err
	}
	template.Subject.Organization = groups
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return ca.sign(template)
}

func (ca *CA) sign(template *x509.Certificate) (Pair, error) {
	name := template.Subject.CommonName
	template.KeyUsage = x509.KeyUsageDigitalSignature
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("issue %s: %w", name, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue %s: %w", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue %s: %w", name, err)
	}
	return Pair{Cert: certPEM(der), Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}, nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Write puts the pair into a folder as tls.crt and tls.key, the names of a
// Secret of type kubernetes.io/tls. Each file is replaced whole.
func (p Pair) Write(dir string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, content := range map[string][]byte{certFile: p.Cert, keyFile: p.Key} {
		tmp := file + ".new"
		if err := os.WriteFile(tmp, content, 0o600); err != nil {
			return "", "", fmt.Errorf("write certificate: %w", err)
		}
		if err := os.Rename(tmp, file); err != nil {
			return "", "", fmt.Errorf("write certificate: %w", err)
		}
	}
	return certFile, keyFile, nil
}
