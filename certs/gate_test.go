package certs

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const gateDelay = 10 * time.Second

var gateNames = []string{"gatepass.test.svc", "gatepass"}

// gateTest is a gate that serves a certificate of a first authority, which is
// published since long ago, and a second authority.
type gateTest struct {
	*gate
	t *testing.T

	first, second         *testCA
	firstLeaf, secondLeaf *tls.Certificate
}

func newGateTest(t *testing.T) *gateTest {
	t.Helper()
	now := time.Now()
	g := &gateTest{
		t:      t,
		gate:   &gate{names: gateNames, delay: gateDelay, logger: slog.New(slog.DiscardHandler)},
		first:  newTestCA(t, "ca", now.Add(-time.Hour), now.Add(24*time.Hour)),
		second: newTestCA(t, "ca", now.Add(-time.Hour), now.Add(24*time.Hour)),
	}
	g.firstLeaf = g.first.leaf(t, now.Add(-time.Minute), now.Add(2*time.Hour), gateNames...)
	g.secondLeaf = g.second.leaf(t, now.Add(-time.Minute), now.Add(4*time.Hour), gateNames...)
	g.observe([][]byte{g.first.pem()}, now.Add(-time.Hour))
	g.expect(g.firstLeaf, g.firstLeaf)
	return g
}

// publish makes the published bundle hold the authorities.
func (g *gateTest) publish(cas ...*testCA) {
	var bundle []byte
	for _, ca := range cas {
		bundle = append(bundle, ca.pem()...)
	}
	g.observe([][]byte{bundle}, time.Now())
}

// expect checks what is served while newest is the newest certificate.
func (g *gateTest) expect(newest, want *tls.Certificate) {
	g.t.Helper()
	got := g.choose(newest, time.Now())
	if got != want {
		name := map[*tls.Certificate]string{g.firstLeaf: "the first", g.secondLeaf: "the second"}
		g.t.Fatalf("serving %s certificate, want %s", name[got], name[want])
	}
}

func TestGate(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(g *gateTest)
	}{
		{"a new authority's certificate waits for the delay after publication", func(g *gateTest) {
			g.expect(g.secondLeaf, g.firstLeaf)
			pass(time.Hour) // however long it takes until the bundle is published
			g.expect(g.secondLeaf, g.firstLeaf)
			g.publish(g.first, g.second)
			g.expect(g.secondLeaf, g.firstLeaf)
			pass(gateDelay - time.Nanosecond)
			g.expect(g.secondLeaf, g.firstLeaf)
			pass(time.Nanosecond)
			g.expect(g.secondLeaf, g.secondLeaf)
		}},
		{"publication before the certificate counts", func(g *gateTest) {
			g.publish(g.first, g.second)
			pass(gateDelay)
			g.expect(g.secondLeaf, g.secondLeaf)
		}},
		{"what else happens to the bundle doesn't start the delay again", func(g *gateTest) {
			g.publish(g.first, g.second)
			g.expect(g.secondLeaf, g.firstLeaf)
			pass(gateDelay / 2)
			now := time.Now()
			g.publish(newTestCA(g.t, "other", now, now.Add(time.Hour)), g.second, g.first)
			g.expect(g.secondLeaf, g.firstLeaf)
			pass(gateDelay / 2)
			g.expect(g.secondLeaf, g.secondLeaf)
		}},
		{"a wiped and restored bundle starts the delay again", func(g *gateTest) {
			g.publish(g.first, g.second)
			g.expect(g.secondLeaf, g.firstLeaf)
			pass(gateDelay / 2)
			g.publish()
			g.expect(g.secondLeaf, g.firstLeaf)
			g.publish(g.first, g.second)
			pass(gateDelay / 2)
			g.expect(g.secondLeaf, g.firstLeaf)
			pass(gateDelay / 2)
			g.expect(g.secondLeaf, g.secondLeaf)
		}},
		{"nothing waits for a previous authority that is no longer published", func(g *gateTest) {
			g.expect(g.secondLeaf, g.firstLeaf)
			g.publish(g.second)
			g.expect(g.secondLeaf, g.secondLeaf)
		}},
		{"an expired certificate is not held on to", func(g *gateTest) {
			g.expect(g.secondLeaf, g.firstLeaf)
			pass(2*time.Hour + time.Second)
			g.expect(g.secondLeaf, g.secondLeaf)
		}},
		{"a renewal by the same authority waits until it is as old as the delay", func(g *gateTest) {
			now := time.Now()
			renewed := g.first.leaf(g.t, now, now.Add(3*time.Hour), gateNames...)
			g.expect(renewed, g.firstLeaf)
			pass(gateDelay)
			g.expect(renewed, renewed)
		}},
		{"a second rotation while the first waits is waited for instead", func(g *gateTest) {
			now := time.Now()
			third := newTestCA(g.t, "ca", now, now.Add(24*time.Hour))
			thirdLeaf := third.leaf(g.t, now, now.Add(4*time.Hour), gateNames...)
			g.publish(g.first, g.second)
			g.expect(g.secondLeaf, g.firstLeaf)
			pass(gateDelay / 2)
			g.publish(g.first, g.second, third)
			g.expect(thirdLeaf, g.firstLeaf)
			pass(gateDelay / 2)
			g.expect(thirdLeaf, g.firstLeaf)
			pass(gateDelay / 2)
			g.expect(thirdLeaf, thirdLeaf)
		}},
		{"an authority in only one of two bundles is not published", func(g *gateTest) {
			g.observe([][]byte{join(g.first.pem(), g.second.pem()), g.first.pem()}, time.Now())
			pass(gateDelay)
			g.expect(g.secondLeaf, g.firstLeaf)
			g.observe([][]byte{join(g.first.pem(), g.second.pem()), join(g.second.pem(), g.first.pem())}, time.Now())
			pass(gateDelay)
			g.expect(g.secondLeaf, g.secondLeaf)
		}},
		{"another authority of the same name vouches for nothing", func(g *gateTest) {
			now := time.Now()
			g.publish(g.first, newTestCA(g.t, "ca", now.Add(-time.Hour), now.Add(24*time.Hour)))
			pass(gateDelay)
			g.expect(g.secondLeaf, g.firstLeaf)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test.run(newGateTest(t)) })
		})
	}
}

func TestGateReady(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(g *gateTest)
		want string
	}{
		{"ready when the authority is published", func(*gateTest) {}, ""},
		{"not ready without a certificate", func(g *gateTest) { g.served = nil }, ErrNoCertificate.Error()},
		{"not ready before the bundle was read", func(g *gateTest) { g.bundle = nil }, "has not been read yet"},
		{"not ready when the bundle is empty", func(g *gateTest) { g.publish() }, "does not verify"},
		{"not ready when there is nothing to publish in", func(g *gateTest) { g.observe(nil, time.Now()) }, "does not verify"},
		{"not ready when only another authority is published", func(g *gateTest) { g.publish(g.second) }, "does not verify"},
		{"not ready when the certificate is for another name", func(g *gateTest) { g.names = []string{"other"} }, "does not verify"},
		{"not ready when the certificate has expired", func(*gateTest) { pass(3 * time.Hour) }, "expired at"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateTest(t)
				test.run(g)
				err := g.ready(time.Now())
				if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("ready: %v, want %q", err, test.want)
				}
			})
		})
	}
}

func TestGateServesAtOnceOnAColdStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ca := newTestCA(t, "ca", now, now.Add(time.Hour))
		leaf := ca.leaf(t, now, now.Add(time.Hour), gateNames...)
		g := &gate{names: gateNames, delay: gateDelay, logger: slog.New(slog.DiscardHandler)}
		if got := g.choose(leaf, now); got != leaf {
			t.Error("there is one certificate only, and it is not served")
		}
		if err := g.ready(now); err == nil {
			t.Error("ready although nothing is published")
		}
	})
}

// restart is a new process: a gate that serves the newest certificate at once,
// and has seen only what is published now.
func (g *gateTest) restart(newest *tls.Certificate, published ...*testCA) {
	g.gate = &gate{names: gateNames, delay: gateDelay, logger: slog.New(slog.DiscardHandler)}
	g.expect(newest, newest)
	g.publish(published...)
}

func (g *gateTest) expectReady(want bool) {
	g.t.Helper()
	if err := g.ready(time.Now()); (err == nil) != want {
		g.t.Fatalf("ready: %v, want it to be ready: %t", err, want)
	}
}

func TestAProcessThatStartsInARotationWaits(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(g *gateTest, young *testCA, leaf *tls.Certificate)
	}{
		{"until clients can know an authority that was published before", func(g *gateTest, young *testCA, leaf *tls.Certificate) {
			pass(gateDelay / 2)
			g.restart(leaf, g.first, young)
			g.expectReady(false)
			pass(gateDelay/2 - time.Nanosecond)
			g.expectReady(false)
			pass(time.Nanosecond)
			g.expectReady(true)
		}},
		{"for the whole delay if it is published later", func(g *gateTest, young *testCA, leaf *tls.Certificate) {
			g.restart(leaf, g.first)
			g.expectReady(false)
			pass(time.Hour)
			g.publish(g.first, young)
			g.expectReady(false)
			pass(gateDelay)
			g.expectReady(true)
		}},
		{"and not again once it was ready", func(g *gateTest, young *testCA, leaf *tls.Certificate) {
			pass(gateDelay)
			g.restart(leaf, g.first, young)
			g.expectReady(true)
			g.publish()
			g.publish(g.first, young)
			g.expectReady(true)
		}},
		{"not if the authority is the only one, as in a first install", func(g *gateTest, young *testCA, leaf *tls.Certificate) {
			g.restart(leaf)
			g.expectReady(false)
			g.publish(young)
			g.expectReady(true)
		}},
		{"also if the other CA was made in the same second", func(g *gateTest, young *testCA, leaf *tls.Certificate) {
			now := time.Now()
			g.restart(leaf, young, newTestCA(g.t, "ca", now, now.Add(24*time.Hour)))
			g.expectReady(false)
		}},
		{"not if the other CA is younger still", func(g *gateTest, young *testCA, leaf *tls.Certificate) {
			pass(time.Second)
			now := time.Now()
			g.restart(leaf, young, newTestCA(g.t, "ca", now, now.Add(24*time.Hour)))
			g.expectReady(true)
		}},
		{"not if the other authority has expired", func(g *gateTest, young *testCA, leaf *tls.Certificate) {
			now := time.Now()
			g.restart(leaf, newTestCA(g.t, "ca", now.Add(-2*time.Hour), now.Add(-time.Hour)), young)
			g.expectReady(true)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateTest(t)
				now := time.Now()
				young := newTestCA(t, "ca", now, now.Add(24*time.Hour))
				test.run(g, young, young.leaf(t, now, now.Add(4*time.Hour), gateNames...))
			})
		})
	}
}

// signedByFirst is a CA that was made now, and the lineage in which the first one
// has signed it.
func (g *gateTest) signedByFirst() (*testCA, lineage) {
	now := time.Now()
	young := newTestCA(g.t, "ca", now, now.Add(24*time.Hour))
	secret := caSecret{}
	for _, ca := range []*testCA{g.first, young} {
		secret.replace(g.t, ca)
		if err := secret.advance(g.t, now); err != nil {
			g.t.Fatal(err)
		}
	}
	return young, secret.lineage(g.t)
}

func TestACrossSignedCA(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(g *gateTest, young *testCA, leaf *tls.Certificate, signed lineage)
	}{
		{"is not served with before the previous one has signed it", func(g *gateTest, young *testCA, leaf *tls.Certificate, signed lineage) {
			g.publish(g.first, young)
			g.observeCA(lineage{current: young.cert}, time.Now())
			g.expect(leaf, g.firstLeaf)
			pass(time.Hour)
			g.expect(leaf, g.firstLeaf)
			g.observeCA(signed, time.Now())
			g.expectChain(leaf, leaf, 1)
		}},
		{"is served with after the delay, before its own publication", func(g *gateTest, _ *testCA, leaf *tls.Certificate, signed lineage) {
			g.observeCA(signed, time.Now())
			g.expect(leaf, g.firstLeaf)
			pass(gateDelay - time.Nanosecond)
			g.expect(leaf, g.firstLeaf)
			pass(time.Nanosecond)
			g.expectChain(leaf, leaf, 1)
			g.expectReady(true)
		}},
		{"has a process that starts ready at once", func(g *gateTest, young *testCA, leaf *tls.Certificate, signed lineage) {
			g.restart(leaf, g.first, young)
			g.crossSigned = true
			g.expectReady(false) // the Secret was not read yet
			g.observeCA(signed, time.Now())
			g.expectReady(true)
			g.expectChain(leaf, leaf, 1)
		}},
		{"has a process that starts ready before the CA is published", func(g *gateTest, _ *testCA, leaf *tls.Certificate, signed lineage) {
			g.restart(leaf, g.first)
			g.crossSigned = true
			g.observeCA(signed, time.Now())
			g.expectReady(true)
		}},
		{"has a process that starts wait if nothing signed it, and say for how long", func(g *gateTest, young *testCA, leaf *tls.Certificate, _ lineage) {
			g.restart(leaf, g.first, young)
			g.crossSigned = true
			g.observeCA(lineage{current: young.cert, complete: true}, time.Now())
			pass(gateDelay / 4)
			var wait *WaitError
			if err := g.ready(time.Now()); !errors.As(err, &wait) || wait.Remaining(time.Now()) != gateDelay*3/4 {
				g.t.Errorf("ready: %v", err)
			}
			pass(gateDelay * 3 / 4)
			g.expectReady(true)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateTest(t)
				g.crossSigned = true
				young, signed := g.signedByFirst()
				now := time.Now()
				test.run(g, young, young.leaf(t, now, now.Add(4*time.Hour), gateNames...), signed)
			})
		})
	}
}

// expectChain checks what is served, and with how many cross certificates.
func (g *gateTest) expectChain(newest, want *tls.Certificate, cross int) {
	g.t.Helper()
	got := g.choose(newest, time.Now())
	if got.Leaf != want.Leaf || len(got.Certificate) != 1+cross {
		g.t.Fatalf("serving the certificate that ends at %s with %d others", got.Leaf.NotAfter, len(got.Certificate)-1)
	}
}
