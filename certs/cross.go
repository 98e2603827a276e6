package certs

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Keys of a CA's Secret. cert-manager's library fills tls.crt, tls.key and ca.crt,
// replaces them when one is missing, and leaves the others as they are.
const (
	caCertKey = "ca.crt"

	// signerCertKey and signerKeyKey contain a copy of the CA. It outlives the
	// replacement of the original just long enough to sign the new CA, and is then
	// replaced itself: no key of a former CA is kept.
	signerCertKey = "signer.crt"
	signerKeyKey  = "signer.key"

	// crossKey contains the cross certificates, newest first.
	crossKey = "cross.crt"
)

// maxCross bounds the cross certificates that are served. They are some 500
// bytes each, in every TLS handshake. By schedule there is one, because a CA is
// replaced after two thirds of its life; the rest is for replacements by hand.
const maxCross = 8

// lineage is a CA and the cross certificates that lead from the CAs before it
// to it. A cross certificate has the subject and the key of one CA, and is
// signed by the CA before: a client that trusts only that one accepts it as an
// intermediate certificate.
type lineage struct {
	current *x509.Certificate
	cross   []*x509.Certificate
	// complete says that the CA has been signed by the one before, or that there
	// is none.
	complete bool
}

// vouchedFor reports whether the CA before has signed the CA of a certificate, if
// there is one before.
func (l *lineage) vouchedFor(cert *x509.Certificate) bool {
	return l != nil && l.complete && cert.CheckSignatureFrom(l.current) == nil
}

// lineageFrom reads a lineage from the data of a CA's Secret.
func lineageFrom(data map[string][]byte) (lineage, error) {
	pair, err := caPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil || !bytes.Equal(data[corev1.TLSCertKey], data[caCertKey]) {
		return lineage{}, fmt.Errorf("%w: the Secret contains no CA", errWaiting)
	}
	l := lineage{current: pair.Leaf, cross: parseBundle(data[crossKey])}
	l.complete = bytes.Equal(data[signerCertKey], data[corev1.TLSCertKey])
	return l, nil
}

// advance brings the data of a CA's Secret up to date. It changes nothing and
// returns nil if it is. If the CA was replaced, the one before signs it. An
// error that is not errWaiting comes with changes: they end the lineage.
func advance(data map[string][]byte, now time.Time) (changes map[string][]byte, err error) {
	l, err := lineageFrom(data)
	if err != nil {
		return nil, err
	}
	cross := l.cross
	if !l.complete && len(data[signerCertKey]) != 0 {
		cross, err = l.succeed(data[signerCertKey], data[signerKeyKey])
	}
	cross = pathFrom(l.current, cross, now)
	changes = map[string][]byte{
		signerCertKey: data[corev1.TLSCertKey],
		signerKeyKey:  data[corev1.TLSPrivateKeyKey],
		crossKey:      encodeBundle(cross[:min(len(cross), maxCross)]),
	}
	same := true
	for key, value := range changes {
		same = same && bytes.Equal(data[key], value)
	}
	if same {
		return nil, nil
	}
	return changes, err
}

// succeed returns the cross certificates when the CA has taken the place of
// another one.
func (l *lineage) succeed(signerCert, signerKey []byte) ([]*x509.Certificate, error) {
	signer, err := caPair(signerCert, signerKey)
	if err != nil {
		return nil, fmt.Errorf("the previous CA can't be used: %w", err)
	}
	if samePublicKey(signer.Leaf, l.current) {
		return l.cross, nil // renewed: what trusts the one trusts the other
	}
	cross, err := crossSign(l.current, signer)
	if err != nil {
		return nil, err
	}
	return append([]*x509.Certificate{cross}, l.cross...), nil
}

// crossSign has one CA vouch for another one.
func crossSign(ca *x509.Certificate, signer tls.Certificate) (*x509.Certificate, error) {
	if signer.Leaf.MaxPathLen == 0 && signer.Leaf.MaxPathLenZero {
		// RFC 5280 (4.2.1.9) does not count self-issued certificates, which cross
		// certificates of CAs of one name are; Go's verifier, the agent's, counts them.
		return nil, errors.New("the previous CA can't sign the new one: its path length is limited to 0")
	}
	template := *ca
	template.SerialNumber = nil // x509.CreateCertificate makes one
	template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
	template.NotBefore = latest(ca.NotBefore, signer.Leaf.NotBefore)
	if signer.Leaf.NotAfter.Before(ca.NotAfter) {
		template.NotAfter = signer.Leaf.NotAfter
	}
	// The CAs have the same name. That the key ids differ is how verifiers tell this
	// certificate from a root.
	template.AuthorityKeyId = signer.Leaf.SubjectKeyId
	der, err := x509.CreateCertificate(rand.Reader, &template, signer.Leaf, ca.PublicKey, signer.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("sign the new CA with the previous one: %w", err)
	}
	cross, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign the new CA with the previous one: %w", err)
	}
	if err := cross.CheckSignatureFrom(signer.Leaf); err != nil {
		return nil, fmt.Errorf("the previous CA can't sign the new one: %w", err)
	}
	return cross, nil
}

// pathFrom returns the cross certificates that lead to a CA, from the one with its
// key to the oldest, without those that have expired.
func pathFrom(ca *x509.Certificate, cross []*x509.Certificate, now time.Time) []*x509.Certificate {
	var path []*x509.Certificate
	next := slices.IndexFunc(cross, func(c *x509.Certificate) bool { return samePublicKey(c, ca) })
	for next >= 0 && len(path) < len(cross) && !now.After(cross[next].NotAfter) {
		path = append(path, cross[next])
		next = issuerOf(cross[next], cross)
	}
	return path
}

// withChain returns a certificate with the cross certificates that a client may
// need to verify it.
func withChain(cert *tls.Certificate, cross []*x509.Certificate, now time.Time) *tls.Certificate {
	first := issuerOf(cert.Leaf, cross)
	if first < 0 {
		return cert
	}
	chained := *cert
	chained.Certificate = slices.Clone(cert.Certificate[:1])
	for _, c := range pathFrom(cross[first], cross, now) {
		chained.Certificate = append(chained.Certificate, c.Raw)
	}
	return &chained
}

// issuerOf returns the index of the certificate that has signed another one, -1
// if none has.
func issuerOf(cert *x509.Certificate, among []*x509.Certificate) int {
	return slices.IndexFunc(among, func(ca *x509.Certificate) bool {
		return !samePublicKey(ca, cert) && cert.CheckSignatureFrom(ca) == nil
	})
}

// caPair parses a CA's certificate and key.
func caPair(cert, key []byte) (tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, err // names neither
	}
	if !pair.Leaf.IsCA {
		return tls.Certificate{}, errors.New("the certificate is not that of a CA")
	}
	return pair, nil
}

func samePublicKey(a, b *x509.Certificate) bool {
	key, ok := a.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b.PublicKey)
}

func encodeBundle(certs []*x509.Certificate) []byte {
	var bundle bytes.Buffer
	for _, cert := range certs {
		// Writing to a bytes.Buffer can't fail, and there are no headers.
		_ = pem.Encode(&bundle, &pem.Block{Type: pemCertificate, Bytes: cert.Raw})
	}
	return bundle.Bytes()
}
