package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// gate decides from when on a new certificate is served.
//
// A certificate signed by a new authority is of no use before the clients trust
// that authority, so it waits until the authority has been in the published
// bundle for as long as the bundle needs to reach them. Until then the
// previous certificate goes on being served; its authority is still in the
// bundle. The gate has no timer: it decides when it is asked.
//
// A process that starts has no previous certificate. With cross certificates it
// needs none: clients that don't know the new CA know the one that signed it. Without,
// if it starts while clients still learn of a new CA, it isn't ready until they can
// know it, and the others go on. It serves all the same: a client that doesn't wait for
// readiness and knows the CA loses nothing.
type gate struct {
	names []string
	delay time.Duration
	// crossSigned says that a new CA is signed by the one before, and that its
	// certificates wait for that.
	crossSigned bool
	logger      *slog.Logger

	mu     sync.Mutex
	served *tls.Certificate
	// chained is served with the cross certificates of its CA.
	chained *tls.Certificate
	// ca is nil before the first look.
	ca *lineage
	// bundle is what is published; seen says since when this process knows each
	// of its certificates to be there. Both are nil before the first look.
	bundle *x509.CertPool
	seen   map[fingerprint]time.Time
	// cas are the bundle's certificates.
	cas []*x509.Certificate
	// since is when the bundle was seen first. Settled is set once the process
	// was ready, or has held a certificate back itself.
	since   time.Time
	settled bool

	// next is the newest certificate, if it isn't the one served. It may be
	// served from openAt on, provided that its authority is published.
	next      *tls.Certificate
	openAt    time.Time
	published bool
}

// observe tells the gate what is published now. A certificate counts as
// published when it is in each of the bundles.
func (g *gate) observe(bundles [][]byte, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	count := make(map[fingerprint]int)
	pool, seen := x509.NewCertPool(), make(map[fingerprint]time.Time)
	var cas []*x509.Certificate
	for _, bundle := range bundles {
		for _, cert := range parseBundle(bundle) {
			id := fingerprintOf(cert)
			if count[id]++; count[id] < len(bundles) {
				continue
			}
			pool.AddCert(cert)
			cas = append(cas, cert)
			seen[id] = now
			if since, ok := g.seen[id]; ok {
				seen[id] = since
			}
		}
	}
	if g.bundle == nil {
		g.since = now
	}
	g.bundle, g.seen, g.cas = pool, seen, cas
	g.judge(now)
}

// observeCA tells the gate what the CA's Secret contains now.
func (g *gate) observeCA(ca lineage, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ca = &ca
	if g.served != nil {
		g.chained = g.withChain(g.served, now)
	}
	g.judge(now)
}

func (g *gate) withChain(cert *tls.Certificate, now time.Time) *tls.Certificate {
	if g.ca == nil {
		return cert
	}
	return withChain(cert, g.ca.cross, now)
}

// choose returns the certificate to serve, given the newest there is.
func (g *gate) choose(newest *tls.Certificate, now time.Time) *tls.Certificate {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.served == nil:
		g.serve(newest, now)
		g.settled = false
		return g.chained
	case newest == g.served:
		return g.chained
	}
	if newest != g.next {
		g.next = newest
		g.judge(now)
		g.logger.Info("a new serving certificate is held back until clients can accept it",
			"published", g.published, "not_after", newest.Leaf.NotAfter)
	}
	switch {
	case g.published && !now.Before(g.openAt):
		g.serve(newest, now)
	case validAt(g.served.Leaf, now) != nil:
		// Nobody accepts the previous one any more, so nothing is lost.
		g.serve(newest, now)
	}
	return g.chained
}

// judge works out from when on next may be served.
func (g *gate) judge(now time.Time) {
	if g.next == nil {
		return
	}
	roots, err := g.verify(g.next, now)
	if g.published = err == nil; !g.published {
		return
	}
	if _, err := g.verify(g.served, now); err != nil {
		// The previous CA was taken out of the bundle. Waiting would only prolong
		// what the clients already refuse.
		g.openAt = now
		return
	}
	if g.crossSigned && !g.ca.vouchedFor(g.next.Leaf) {
		g.published = false
		return
	}
	// The certificate itself must be as old as well: it is valid from the
	// moment it was signed, and the clients' clocks may be a little behind.
	g.openAt = latest(earliest(roots, g.seenAt), g.next.Leaf.NotBefore).Add(g.delay)
}

func (g *gate) seenAt(root *x509.Certificate) time.Time { return g.seen[fingerprintOf(root)] }

func (g *gate) serve(cert *tls.Certificate, now time.Time) {
	g.served, g.next, g.published, g.settled = cert, nil, false, true
	g.chained = g.withChain(cert, now)
	g.logger.Info("serving a new certificate", "not_after", cert.Leaf.NotAfter, "cross_certificates", len(g.chained.Certificate)-1)
}

// ready reports why a client that trusts what is published would not accept
// the certificate served.
func (g *gate) ready(now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.served == nil {
		return ErrNoCertificate
	}
	if err := validAt(g.served.Leaf, now); err != nil {
		return err
	}
	if g.bundle == nil {
		return errors.New("the published CA bundle has not been read yet")
	}
	roots, err := g.verify(g.served, now)
	if err != nil {
		return fmt.Errorf("the certificate served does not verify against the published CA bundle: %w", err)
	}
	if g.crossSigned && g.ca == nil {
		return errors.New("the CA's Secret has not been read yet")
	}
	if known := g.knownAt(roots, now); now.Before(known) {
		return &WaitError{Until: known}
	}
	g.settled = true
	return nil
}

// knownAt is when clients can be expected to know a CA that the first certificate
// of this process leads to; zero if there is nothing to wait for. The oldest CA of the
// bundle is in every bundle that a client can have: it is that of a first install, or
// was there before the others came, or those before it were taken out.
func (g *gate) knownAt(roots []*x509.Certificate, now time.Time) time.Time {
	first := earliest(roots, func(ca *x509.Certificate) time.Time { return ca.NotBefore })
	older := slices.ContainsFunc(g.cas, func(ca *x509.Certificate) bool {
		return !now.After(ca.NotAfter) && !ca.NotBefore.After(first) && !slices.ContainsFunc(roots, ca.Equal)
	})
	if g.settled || !older {
		return time.Time{}
	}
	return earliest(roots, func(root *x509.Certificate) time.Time {
		if published := g.seenAt(root); published.After(g.since) {
			return published
		}
		// It was there before this process: the publication is not much younger
		// than the CA.
		return root.NotBefore
	}).Add(g.delay)
}

// verify checks a certificate as a client does and returns the CAs of the published
// bundle that clients may have accepted it by.
func (g *gate) verify(cert *tls.Certificate, now time.Time) ([]*x509.Certificate, error) {
	if g.bundle == nil {
		return nil, errors.New("nothing is published")
	}
	between := x509.NewCertPool()
	if g.ca != nil {
		for _, cross := range g.ca.cross {
			between.AddCert(cross)
		}
	}
	var roots []*x509.Certificate
	for _, name := range g.names {
		chains, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: g.bundle, Intermediates: between, CurrentTime: now})
		if err != nil {
			return nil, err
		}
		roots = roots[:0]
		for _, chain := range chains {
			roots = append(roots, chain[len(chain)-1])
		}
	}
	return roots, nil
}

// earliest is the first of the times that certificates have.
func earliest(certs []*x509.Certificate, timeOf func(*x509.Certificate) time.Time) time.Time {
	first := timeOf(certs[0])
	for _, cert := range certs[1:] {
		if t := timeOf(cert); t.Before(first) {
			first = t
		}
	}
	return first
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
