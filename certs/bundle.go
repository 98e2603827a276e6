package certs

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"
)

const (
	// maxBundle bounds a published bundle, in certificates. Ours hold two
	// through a rotation; the rest is room for what administrators add.
	maxBundle = 16

	// maxCertificateSize bounds one certificate, in bytes of DER. With maxBundle
	// it keeps a bundle far below the 1 MiB of a ConfigMap.
	maxCertificateSize = 16 << 10

	pemCertificate = "CERTIFICATE"
)

// fingerprint identifies a certificate.
type fingerprint [sha256.Size]byte

func fingerprintOf(cert *x509.Certificate) fingerprint { return sha256.Sum256(cert.Raw) }

// parseBundle returns the certificates of a PEM bundle and skips what clients
// skip too: other blocks, blocks with headers (as crypto/x509's CertPool does)
// and what isn't a certificate. A certificate comes once, however often it is
// in the bundle.
func parseBundle(bundle []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	seen := make(map[fingerprint]bool)
	for {
		var block *pem.Block
		block, bundle = pem.Decode(bundle)
		if block == nil {
			return certs
		}
		if block.Type != pemCertificate || len(block.Headers) != 0 || len(block.Bytes) > maxCertificateSize {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || seen[fingerprintOf(cert)] {
			continue
		}
		seen[fingerprintOf(cert)] = true
		certs = append(certs, cert)
	}
}

// mergeBundle returns the bundle that is to be published where existing is:
// what is in existing, with current added. Only what nobody can use is dropped:
// expired certificates, duplicates and anything else than certificates. So a
// client that gets the new bundle still trusts a server which hasn't heard of
// the new authority.
//
// Replicas that merge one after the other, even with different ideas of
// current, come to rest: merging is idempotent, never takes away what another
// replica added, and orders by the certificates alone, newest first. Only a
// bundle with more than maxBundle certificates loses its oldest, never current.
func mergeBundle(existing []byte, current *x509.Certificate, now time.Time) []byte {
	certs := slices.DeleteFunc(parseBundle(existing), func(cert *x509.Certificate) bool {
		return now.After(cert.NotAfter) || bytes.Equal(cert.Raw, current.Raw)
	})
	slices.SortFunc(certs, newestFirst)
	certs = append(certs[:min(len(certs), maxBundle-1)], current)
	slices.SortFunc(certs, newestFirst)

	return encodeBundle(certs)
}

func newestFirst(a, b *x509.Certificate) int {
	return cmp.Or(b.NotBefore.Compare(a.NotBefore), bytes.Compare(a.Raw, b.Raw))
}
