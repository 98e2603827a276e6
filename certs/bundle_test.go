package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var testNow = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestMergeBundle(t *testing.T) {
	hour := time.Hour
	oldest := newTestCA(t, "oldest", testNow.Add(-3*hour), testNow.Add(hour))
	old := newTestCA(t, "old", testNow.Add(-2*hour), testNow.Add(hour))
	current := newTestCA(t, "current", testNow.Add(-hour), testNow.Add(hour))
	newer := newTestCA(t, "newer", testNow, testNow.Add(hour))
	expired := newTestCA(t, "expired", testNow.Add(-2*hour), testNow.Add(-time.Second))
	withHeader := pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Headers: map[string]string{"Note": "not for clients"}, Bytes: old.cert.Raw,
	})
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("no key at all")})
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")})
	huge := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: make([]byte, maxCertificateSize+1)})

	for _, test := range []struct {
		name     string
		existing []byte
		want     []byte
	}{
		{"an empty bundle gets the current authority", nil, current.pem()},
		{"the current authority stays as it is", current.pem(), current.pem()},
		{"the previous authority is kept", old.pem(), join(current.pem(), old.pem())},
		{"a newer authority of another replica is kept, and comes first", newer.pem(), join(newer.pem(), current.pem())},
		{"the order is by age", join(oldest.pem(), newer.pem(), old.pem()), join(newer.pem(), current.pem(), old.pem(), oldest.pem())},
		{"an expired authority is dropped", join(expired.pem(), old.pem()), join(current.pem(), old.pem())},
		{"a duplicate is dropped", join(old.pem(), old.pem(), current.pem(), current.pem()), join(current.pem(), old.pem())},
		{"a block with headers is dropped, as clients skip it", withHeader, current.pem()},
		{"a private key is dropped", join(key, old.pem()), join(current.pem(), old.pem())},
		{"a broken certificate is dropped", join(broken, old.pem()), join(current.pem(), old.pem())},
		{"a huge certificate is dropped", join(huge, old.pem()), join(current.pem(), old.pem())},
		{"text between certificates is dropped", join([]byte("# ours\n"), old.pem(), []byte("\n\ntrailing")), join(current.pem(), old.pem())},
		{"garbage is replaced", []byte("-----BEGIN CERTIFICATE-----\ngarbage"), current.pem()},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := mergeBundle(test.existing, current.cert, testNow)
			if diff := cmp.Diff(string(test.want), string(got)); diff != "" {
				t.Errorf("merged bundle (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeBundleIsBounded(t *testing.T) {
	var bundle []byte
	for i := range 2 * maxBundle {
		ca := newTestCA(t, "filler", testNow.Add(time.Duration(i)*time.Second), testNow.Add(time.Hour))
		bundle = append(bundle, ca.pem()...)
	}
	current := newTestCA(t, "current", testNow.Add(-time.Hour), testNow.Add(time.Hour))
	merged := parseBundle(mergeBundle(bundle, current.cert, testNow))
	if len(merged) != maxBundle {
		t.Fatalf("%d certificates, want %d", len(merged), maxBundle)
	}
	if !slices.ContainsFunc(merged, current.cert.Equal) {
		t.Error("the current authority, although the oldest, is missing")
	}
}

// TestReplicasComeToRest lets replicas with different ideas of the current
// authority merge in any order.
func TestReplicasComeToRest(t *testing.T) {
	var cas []*testCA
	for i := range 6 {
		start := testNow.Add(-time.Duration(i%3) * time.Hour) // some are of the same age
		cas = append(cas, newTestCA(t, "ca", start, testNow.Add(time.Duration(1+i%2)*time.Hour)))
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable on purpose
	for range 200 {
		replicas := slices.Clone(cas)
		random.Shuffle(len(replicas), func(i, j int) { replicas[i], replicas[j] = replicas[j], replicas[i] })
		replicas = replicas[:1+random.IntN(len(replicas))]
		var bundle []byte
		for _, replica := range replicas {
			bundle = mergeBundle(bundle, replica.cert, testNow)
		}
		for _, replica := range replicas {
			if again := mergeBundle(bundle, replica.cert, testNow); !bytes.Equal(again, bundle) {
				t.Fatal("a replica would go on changing the bundle")
			}
		}
		if got := len(parseBundle(bundle)); got != len(replicas) {
			t.Fatalf("%d certificates of %d replicas", got, len(replicas))
		}
	}
}

func FuzzMergeBundle(f *testing.F) {
	// Each of the fuzzer's processes must start from the same certificates.
	current := fixedTestCA(f, "current", 1, testNow.Add(-time.Hour))
	old := fixedTestCA(f, "old", 2, testNow.Add(-2*time.Hour))
	f.Add([]byte(nil))
	f.Add(old.pem())
	f.Add(join(old.pem(), current.pem(), []byte("-----BEGIN CERTIFICATE-----\n")))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nHeader: value\n\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add(bytes.Repeat([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 50))
	f.Fuzz(func(t *testing.T, existing []byte) {
		merged := mergeBundle(existing, current.cert, testNow)
		if again := mergeBundle(merged, current.cert, testNow); !bytes.Equal(again, merged) {
			t.Fatal("merging twice is not merging once")
		}
		certs := parseBundle(merged)
		if len(certs) > maxBundle || len(certs) == 0 {
			t.Fatalf("%d certificates", len(certs))
		}
		if !slices.ContainsFunc(certs, current.cert.Equal) {
			t.Fatal("the current authority is missing")
		}
		before := parseBundle(existing)
		for _, cert := range certs {
			if !cert.Equal(current.cert) && !slices.ContainsFunc(before, cert.Equal) {
				t.Fatal("a certificate came from nowhere")
			}
		}
		if len(before) < maxBundle {
			for _, cert := range before {
				if !testNow.After(cert.NotAfter) && !slices.ContainsFunc(certs, cert.Equal) {
					t.Fatal("a certificate was lost")
				}
			}
		}
		if !x509.NewCertPool().AppendCertsFromPEM(merged) {
			t.Fatal("clients find no certificate in the bundle")
		}
	})
}
