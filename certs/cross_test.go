package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// caSecret is the data of a CA's Secret.
type caSecret map[string][]byte

// replace does what cert-manager's library does when a CA has to be replaced.
func (s caSecret) replace(tb testing.TB, ca *testCA) {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		tb.Fatal(err)
	}
	s["tls.crt"], s["ca.crt"] = ca.pem(), ca.pem()
	s["tls.key"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// advance applies what advance changes, and wants nothing to be left to do.
func (s caSecret) advance(tb testing.TB, now time.Time) error {
	tb.Helper()
	changes, broken := advance(s, now)
	maps.Copy(s, changes)
	if again, err := advance(s, now); again != nil || err != nil {
		tb.Fatalf("advancing a second time changes %d keys, error %v", len(again), err)
	}
	return broken
}

func (s caSecret) lineage(tb testing.TB) lineage {
	tb.Helper()
	l, err := lineageFrom(s)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// serve returns what a server shows whose certificate is of a CA.
func (s caSecret) serve(tb testing.TB, ca *testCA, now time.Time) *tls.Certificate {
	tb.Helper()
	return withChain(ca.leaf(tb, now, now.Add(time.Minute), "a"), s.lineage(tb).cross, now)
}

// accepts reports why a client that trusts one CA doesn't accept a server.
func accepts(tb testing.TB, root *testCA, shown *tls.Certificate, now time.Time) error {
	tb.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root.cert)
	for _, der := range shown.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			tb.Fatal(err)
		}
		between.AddCert(cert)
	}
	_, err := shown.Leaf.Verify(x509.VerifyOptions{DNSName: "a", Roots: roots, Intermediates: between, CurrentTime: now})
	return err
}

// rotated is a Secret after n replacements, with all of its CAs. CA i ends i+1 hours
// after testNow.
func rotated(tb testing.TB, n int) (caSecret, []*testCA) {
	tb.Helper()
	secret := caSecret{}
	var cas []*testCA
	for i := range n + 1 {
		ca := newTestCA(tb, "ca", testNow, testNow.Add(time.Duration(i+1)*time.Hour))
		cas = append(cas, ca)
		secret.replace(tb, ca)
		if err := secret.advance(tb, testNow); err != nil {
			tb.Fatal(err)
		}
	}
	return secret, cas
}

func TestEveryBundleVerifiesEveryLaterChainUntilItsCAEnds(t *testing.T) {
	const rotations = 3
	for j := range rotations + 1 {
		secret, cas := rotated(t, j)
		shown := secret.serve(t, cas[j], testNow)
		if got := len(shown.Certificate); got != j+1 {
			t.Errorf("after %d rotations %d certificates are served", j, got)
		}
		for i, root := range cas {
			t.Run(fmt.Sprintf("bundle %d, chain %d", i, j), func(t *testing.T) {
				if err := accepts(t, root, shown, testNow); err != nil {
					t.Error(err)
				}
				end := root.cert.NotAfter
				last := secret.serve(t, cas[j], end.Add(-time.Second))
				if err := accepts(t, root, last, end.Add(-time.Second)); err != nil {
					t.Errorf("just before the CA's end: %v", err)
				}
				if err := accepts(t, root, last, end.Add(time.Second)); err == nil {
					t.Error("accepted after the CA's end")
				}
			})
		}
	}
}

func TestCrossCertificatesAreNoLongerThanWhatTheyConnect(t *testing.T) {
	secret, cas := rotated(t, 3)
	for i, cross := range secret.lineage(t).cross {
		newer, older := cas[3-i], cas[2-i]
		if err := cross.CheckSignatureFrom(older.cert); err != nil || !samePublicKey(cross, newer.cert) {
			t.Errorf("cross certificate %d does not lead from CA %d to CA %d: %v", i, 2-i, 3-i, err)
		}
		if cross.NotAfter.After(older.cert.NotAfter) || cross.NotBefore.Before(newer.cert.NotBefore) || !cross.IsCA || cross.MaxPathLen != -1 {
			t.Errorf("cross certificate %d is valid from %s to %s, a CA %t, its path length %d", i, cross.NotBefore, cross.NotAfter, cross.IsCA, cross.MaxPathLen)
		}
		// With the key id of its issuer, it is not taken for a root, which has the same names.
		if cmp.Equal(cross.AuthorityKeyId, cross.SubjectKeyId) || !cmp.Equal(cross.AuthorityKeyId, older.cert.SubjectKeyId) {
			t.Errorf("cross certificate %d names key %x as its issuer's", i, cross.AuthorityKeyId)
		}
	}
}

func TestALeafOfThePreviousCAIsServedWithItsOwnChain(t *testing.T) {
	secret, cas := rotated(t, 3)
	for i, ca := range cas {
		if got := len(secret.serve(t, ca, testNow).Certificate); got != i+1 {
			t.Errorf("a certificate of CA %d comes with %d others", i, got-1)
		}
	}
}

func TestNoKeyOfAFormerCAIsKept(t *testing.T) {
	secret, cas := rotated(t, 2)
	for key, value := range secret {
		block, _ := pem.Decode(value)
		if block == nil || block.Type != "PRIVATE KEY" {
			continue
		}
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if own, ok := private.(interface{ Equal(crypto.PrivateKey) bool }); !ok || !own.Equal(cas[2].key) {
			t.Errorf("%s is not the key of the CA", key)
		}
	}
}

func TestAnEmptiedSecretBreaksWithEveryFormerCA(t *testing.T) {
	secret, cas := rotated(t, 2)
	clear(secret)
	if _, err := advance(secret, testNow); !errors.Is(err, errWaiting) {
		t.Errorf("advancing an empty Secret: %v", err)
	}
	next := newTestCA(t, "ca", testNow, testNow.Add(time.Hour))
	secret.replace(t, next)
	if err := secret.advance(t, testNow); err != nil {
		t.Error(err)
	}
	shown := secret.serve(t, next, testNow)
	if err := accepts(t, next, shown, testNow); err != nil {
		t.Errorf("with the new CA: %v", err)
	}
	for i, ca := range cas {
		if err := accepts(t, ca, shown, testNow); err == nil {
			t.Errorf("accepted with CA %d", i)
		}
	}
}

func TestLineage(t *testing.T) {
	first := newTestCA(t, "ca", testNow, testNow.Add(2*time.Hour))
	second := newTestCA(t, "ca", testNow, testNow.Add(3*time.Hour))
	for _, test := range []struct {
		name string
		// run changes a Secret of the first CA.
		run func(t *testing.T, s caSecret) error
		// current is the CA that signs at the end. The first one accepts it: trusted.
		current *testCA
		trusted bool
		cross   int
	}{
		{"a CA that is replaced twice before it was signed is signed once", func(t *testing.T, s caSecret) error {
			s.replace(t, newTestCA(t, "ca", testNow, testNow.Add(time.Hour)))
			s.replace(t, second)
			return s.advance(t, testNow)
		}, second, true, 1},
		{"a CA that is renewed with the same key needs no signature", func(t *testing.T, s caSecret) error {
			template := caTemplate("ca", serial(t), testNow, testNow.Add(4*time.Hour))
			renewed := &testCA{cert: sign(t, template, template, first.key, first.key), key: first.key}
			s.replace(t, renewed)
			return s.advance(t, testNow)
		}, first, true, 0},
		{"a removed key has the CA replaced and signed", func(t *testing.T, s caSecret) error {
			delete(s, "tls.key")
			if _, err := advance(s, testNow); !errors.Is(err, errWaiting) {
				t.Errorf("without a key: %v", err)
			}
			s.replace(t, second)
			return s.advance(t, testNow)
		}, second, true, 1},
		{"a copy that was removed is made again, and the chain stays", func(t *testing.T, s caSecret) error {
			s.replace(t, second)
			if err := s.advance(t, testNow); err != nil {
				return err
			}
			delete(s, signerKeyKey)
			delete(s, signerCertKey)
			return s.advance(t, testNow)
		}, second, true, 1},
		{"an expired cross certificate is dropped", func(t *testing.T, s caSecret) error {
			s.replace(t, second)
			if err := s.advance(t, testNow); err != nil {
				return err
			}
			return s.advance(t, testNow.Add(2*time.Hour+time.Second))
		}, second, false, 0},
		{"garbage among the cross certificates is dropped", func(t *testing.T, s caSecret) error {
			s.replace(t, second)
			if err := s.advance(t, testNow); err != nil {
				return err
			}
			s[crossKey] = join(newTestCA(t, "ca", testNow, testNow.Add(time.Hour)).pem(), s[crossKey], []byte("garbage"))
			return s.advance(t, testNow)
		}, second, true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			secret := caSecret{}
			secret.replace(t, first)
			if err := errors.Join(secret.advance(t, testNow), test.run(t, secret)); err != nil {
				t.Fatal(err)
			}
			shown := secret.serve(t, test.current, testNow)
			if err := accepts(t, first, shown, testNow); (err == nil) != test.trusted {
				t.Errorf("a client of the first CA: %v", err)
			}
			if got := len(secret.lineage(t).cross); got != test.cross {
				t.Errorf("%d cross certificates, want %d", got, test.cross)
			}
		})
	}
}

func TestALongLineageLosesItsOldestEnd(t *testing.T) {
	secret, cas := rotated(t, maxCross+2)
	last := len(cas) - 1
	shown := secret.serve(t, cas[last], testNow)
	for i, ca := range cas {
		if err := accepts(t, ca, shown, testNow); (err == nil) != (i >= last-maxCross) {
			t.Errorf("a client of CA %d of %d: %v", i, last, err)
		}
	}
}

// An administrator may have put a CA of such kind into the Secret.
func TestACAThatCannotVouchForTheNextIsTold(t *testing.T) {
	limited := caTemplate("ca", serial(t), testNow, testNow.Add(time.Hour))
	limited.MaxPathLenZero = true
	key := newKey(t)
	first := &testCA{cert: sign(t, limited, limited, key, key), key: key}
	second := newTestCA(t, "ca", testNow, testNow.Add(time.Hour))

	secret := caSecret{}
	secret.replace(t, first)
	if err := secret.advance(t, testNow); err != nil {
		t.Fatal(err)
	}
	secret.replace(t, second)
	changes, err := advance(secret, testNow)
	if err == nil || errors.Is(err, errWaiting) || len(changes) == 0 {
		t.Errorf("%d keys are changed, error %v", len(changes), err)
	}

	// Go counts certificates that RFC 5280 does not, so signing would not help.
	template := *second.cert
	template.SerialNumber, template.AuthorityKeyId = nil, first.cert.SubjectKeyId
	cross := sign(t, &template, first.cert, second.key, first.key)
	shown := withChain(second.leaf(t, testNow, testNow.Add(time.Minute), "a"), []*x509.Certificate{cross}, testNow)
	invalid := x509.CertificateInvalidError{}
	if err := accepts(t, first, shown, testNow); !errors.As(err, &invalid) || invalid.Reason != x509.TooManyIntermediates {
		t.Errorf("a signature of a CA of path length 0: %v", err)
	}
}
