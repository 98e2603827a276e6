package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
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
// A process that starts has no previous certificate. If it starts while clients
// still learn of a new authority, it isn't ready until they can know it, and
// the others go on. It serves all the same: who doesn't wait for readiness and
// knows the authority loses nothing.
type gate struct {
	names  []string
	delay  time.Duration
	logger *slog.Logger

	mu     sync.Mutex
	served *tls.Certificate
	// bundle is what is published; seen says since when this process knows each
	// of its certificates to be there. Both are nil before the first look.
	bundle *x509.CertPool
	seen   map[fingerprint]time.Time
	// ends says when each of the bundle's certificates expires.
	ends []time.Time
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
	var ends []time.Time
	for _, bundle := range bundles {
		for _, cert := range parseBundle(bundle) {
			id := fingerprintOf(cert)
			if count[id]++; count[id] < len(bundles) {
				continue
			}
			pool.AddCert(cert)
			ends = append(ends, cert.NotAfter)
			seen[id] = now
			if since, ok := g.seen[id]; ok {
				seen[id] = since
			}
		}
	}
	if g.bundle == nil {
		g.since = now
	}
	g.bundle, g.seen, g.ends = pool, seen, ends
	g.judge(now)
}

// choose returns the certificate to serve, given the newest there is.
func (g *gate) choose(newest *tls.Certificate, now time.Time) *tls.Certificate {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.served == nil:
		g.serve(newest)
		g.settled = false
		return g.served
	case newest == g.served:
		return g.served
	}
	if newest != g.next {
		g.next = newest
		g.judge(now)
		g.logger.Info("a new serving certificate is held back until clients can accept it",
			"published", g.published, "not_after", newest.Leaf.NotAfter)
	}
	switch {
	case g.published && !now.Before(g.openAt):
		g.serve(newest)
	case validAt(g.served.Leaf, now) != nil:
		// Nobody accepts the previous one any more, so nothing is lost.
		g.serve(newest)
	}
	return g.served
}

// judge works out from when on next may be served.
func (g *gate) judge(now time.Time) {
	if g.next == nil {
		return
	}
	root, err := g.verify(g.next.Leaf, now)
	if g.published = err == nil; !g.published {
		return
	}
	if _, err := g.verify(g.served.Leaf, now); err != nil {
		// Someone took the previous authority out of the bundle. Waiting would
		// only prolong what the clients already refuse.
		g.openAt = now
		return
	}
	// The certificate itself must be as old as well: it is valid from the
	// moment it was signed, and the clients' clocks may be a little behind.
	g.openAt = latest(g.seen[fingerprintOf(root)], g.next.Leaf.NotBefore).Add(g.delay)
}

func (g *gate) serve(cert *tls.Certificate) {
	g.served, g.next, g.published, g.settled = cert, nil, false, true
	g.logger.Info("serving a new certificate", "not_after", cert.Leaf.NotAfter)
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
	root, err := g.verify(g.served.Leaf, now)
	if err != nil {
		return fmt.Errorf("the certificate served does not verify against the published CA bundle: %w", err)
	}
	if known := g.knownAt(root, now); now.Before(known) {
		return fmt.Errorf("the authority is new, and clients may know it from %s only", known.UTC().Format(time.RFC3339))
	}
	g.settled = true
	return nil
}

// knownAt is when clients can be expected to know the authority of the first
// certificate that this process serves; zero if there is nothing to wait for.
// An authority that is alone in the bundle is that of a first install, or the
// others were taken out: either way there is no other to serve with.
func (g *gate) knownAt(root *x509.Certificate, now time.Time) time.Time {
	valid := 0
	for _, end := range g.ends {
		if !now.After(end) {
			valid++
		}
	}
	if g.settled || valid < 2 {
		return time.Time{}
	}
	if published := g.seen[fingerprintOf(root)]; published.After(g.since) {
		return published.Add(g.delay)
	}
	// It was there before this process: the publication is not much younger
	// than the authority.
	return root.NotBefore.Add(g.delay)
}

// verify checks a certificate as a client does and returns the authority from
// the published bundle that vouches for it.
func (g *gate) verify(leaf *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	if g.bundle == nil {
		return nil, errors.New("nothing is published")
	}
	var root *x509.Certificate
	for _, name := range g.names {
		chains, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: g.bundle, CurrentTime: now})
		if err != nil {
			return nil, err
		}
		root = chains[0][len(chains[0])-1]
	}
	return root, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
