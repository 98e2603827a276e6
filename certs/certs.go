// Package certs provides the certificates that Gatepass's servers serve with.
//
// A server is given one of two sources, which look the same to it: Files
// reads a pair that something else keeps up to date, cert-manager for
// example; SelfManaged keeps a certificate authority of its own in a Secret
// and publishes it where the clients look.
package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ErrNoCertificate says that there is nothing to serve with yet.
var ErrNoCertificate = errors.New("no serving certificate yet")

// WaitError says that a server's certificate can be used from a time on, without
// anything being done.
type WaitError struct{ Until time.Time }

func (e *WaitError) Error() string {
	return "the CA is new and was not signed by the one before; clients may know it from " + e.Until.UTC().Format(time.RFC3339) + " only"
}

// Remaining returns how much of the wait is left.
func (e *WaitError) Remaining(now time.Time) time.Duration { return max(0, e.Until.Sub(now)) }

// validAt reports why a certificate is of no use at a moment.
func validAt(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("the certificate expired at %s", cert.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s; is this machine's clock right?",
			cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}
