package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// maxNames bounds how many of a certificate's names a message lists.
const maxNames = 8

// Explain reports whether err says that host's certificate failed
// verification, and if so why and what to do about it, in one sentence
// without secrets; setting is what holds the host's name. Names that come from the certificate are cleaned: at this
// point nothing about the other side is proven.
func Explain(err error, host, setting string, now time.Time) (string, bool) {
	failure, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		return "", false
	}
	var leaf *x509.Certificate
	if len(failure.UnverifiedCertificates) > 0 {
		leaf = failure.UnverifiedCertificates[0]
	}
	return explain(failure.Err, leaf, host, setting, now), true
}

func explain(err error, leaf *x509.Certificate, host, setting string, now time.Time) string {
	if wrongName, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the certificate is not valid for %s but for %s; set %s to one of these names, or issue a certificate for %s",
			host, names(wrongName.Certificate), setting, host)
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if leaf == nil {
			leaf = unknown.Cert
		}
		return fmt.Sprintf("the certificate of %s was issued by %s, which is not among the trusted authorities; add that authority's certificate to the CA bundle (a profile's gateway.caFile or caBundle, the agent's GATEPASS_CA_BUNDLE, gatepass auth --ca-file)",
			host, issuer(leaf))
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return explainInvalid(invalid, leaf, host, now)
	}
	return fmt.Sprintf("the certificate of %s can't be verified: %s", host, printable(err.Error(), 300))
}

func explainInvalid(invalid x509.CertificateInvalidError, leaf *x509.Certificate, host string, now time.Time) string {
	switch invalid.Reason {
	default:
		return fmt.Sprintf("the certificate of %s is invalid: %s", host, printable(invalid.Error(), 300))
	case x509.Expired:
		which := "the certificate of " + host
		if invalid.Cert != nil && leaf != nil && !invalid.Cert.Equal(leaf) {
			which = "the authority " + subject(invalid.Cert) + " that issued the certificate of " + host
		}
		if invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
			return fmt.Sprintf("%s is not valid before %s, and it is %s here; correct the clock of this node or of the issuer",
				which, stamp(invalid.Cert.NotBefore), stamp(now))
		}
		if invalid.Cert != nil {
			return fmt.Sprintf("%s expired at %s, and it is %s here; renew the certificate (or correct this node's clock)",
				which, stamp(invalid.Cert.NotAfter), stamp(now))
		}
		return which + " has expired; renew it"
	case x509.NotAuthorizedToSign:
		return fmt.Sprintf("the certificate of %s was issued by a certificate that is no authority; serve one that a CA certificate issued", host)
	case x509.IncompatibleUsage:
		return fmt.Sprintf("the certificate of %s is not meant for servers; issue one with the extended key usage 'server auth'", host)
	case x509.NameConstraintsWithoutSANs, x509.CANotAuthorizedForThisName:
		return fmt.Sprintf("the authority that issued the certificate of %s may not issue for that name; use another authority", host)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func names(cert *x509.Certificate) string {
	if cert == nil {
		return "other names"
	}
	var all []string
	for _, n := range cert.DNSNames {
		all = append(all, printable(n, 253))
	}
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	switch {
	case len(all) == 0:
		return "no name at all (a common name does not count; it needs subject alternative names)"
	case len(all) > maxNames:
		return fmt.Sprintf("%s and %d more", strings.Join(all[:maxNames], ", "), len(all)-maxNames)
	}
	return strings.Join(all, ", ")
}

func issuer(cert *x509.Certificate) string {
	if cert == nil {
		return "an unknown authority"
	}
	name := printable(cert.Issuer.String(), 200)
	switch {
	case cert.Issuer.String() == cert.Subject.String():
		return fmt.Sprintf("itself (%q, self-signed)", name)
	case name == "":
		return "an authority without a name"
	}
	return fmt.Sprintf("%q", name)
}

func subject(cert *x509.Certificate) string {
	return fmt.Sprintf("%q", printable(cert.Subject.String(), 200))
}

// printable keeps at most limit characters of s and replaces what could
// disturb a log or a terminal.
func printable(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > limit {
			b.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
