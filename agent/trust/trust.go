// Package trust decides which certificate authorities a server's certificate
// is verified against, and says in plain words why a certificate failed.
// Verification itself is the standard library's and can't be turned off.
package trust

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Roots returns the authorities to trust: those in caBundle (PEM) and no
// others, when it is not empty; otherwise the system's; where there are none,
// as in an image without a base, the bundle compiled into the program. Only
// the chosen set is parsed, because parsing a hundred certificates would cost
// a starting pod more than its whole login.
func Roots(caBundle string) (*x509.CertPool, error) {
	if strings.TrimSpace(caBundle) != "" {
		return parse(caBundle)
	}
	// An error here means that a certificate directory could not be read:
	// the same as having none.
	if system, err := x509.SystemCertPool(); err == nil && !system.Equal(x509.NewCertPool()) {
		return system, nil
	}
	return builtIn()
}

// parse reads PEM certificates. Unlike CertPool.AppendCertsFromPEM it refuses
// a bundle of which a part can't be read: half a bundle shows up only months
// later, when a certificate of the other half's authority is served.
func parse(caBundle string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	rest := []byte(caBundle)
	for n := 1; ; n++ {
		block, after := pem.Decode(rest)
		looked, blocks := rest, 0
		if block != nil {
			looked, blocks = rest[:len(rest)-len(after)], 1
		}
		// Decode skips a block that it can't read.
		if strings.Count(string(looked), "-----BEGIN") > blocks {
			return nil, fmt.Errorf("block %d is cut off or is not valid PEM; each BEGIN and END must have a line of its own", n)
		}
		if block == nil && n == 1 {
			return nil, errors.New("holds no PEM certificate; it must hold one or more CERTIFICATE blocks")
		}
		if block == nil {
			return pool, nil
		}
		rest = after
		if block.Type != "CERTIFICATE" {
			// Not quoted further: a private key must not get into a log.
			return nil, fmt.Errorf("block %d is a %q; only CERTIFICATE blocks belong here", n, printable(block.Type, 40))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d can't be read: %w", n, err)
		}
		pool.AddCert(cert)
	}
}

func builtIn() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fmt.Errorf("reading the built-in certificate authorities: %w", err)
		}
		if root.Constraint == nil {
			pool.AddCert(cert)
		} else {
			pool.AddCertWithConstraint(cert, root.Constraint)
		}
	}
	return pool, nil
}

// Config returns the TLS settings of a client that makes one request. serverName is
// whom the certificate must be for, empty for the host of the address; own is what the
// client presents when it is asked, nil for nothing.
func Config(roots *x509.CertPool, serverName string, own *tls.Certificate) *tls.Config {
	c := &tls.Config{
		RootCAs:    roots,
		ServerName: serverName,
		MinVersion: tls.VersionTLS12,
	}
	if own != nil {
		c.Certificates = []tls.Certificate{*own}
	}
	return c
}
