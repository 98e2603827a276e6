package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/certs"
	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/documented"
	"github.com/gatepass/gatepass/test/manifests"
)

// shows reports why a client with a bundle does not accept what a source shows.
func shows(t *testing.T, s *source, bundle []byte) error {
	t.Helper()
	cert, err := s.GetCertificate(nil)
	if err != nil {
		return err
	}
	return acceptsChain(bundle, cert.Certificate)
}

// acceptsChain is what a pod does that has a bundle in its environment.
func acceptsChain(bundle []byte, shown [][]byte) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return errors.New("the bundle is empty")
	}
	var chain []*x509.Certificate
	for _, der := range shown {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, cert)
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: gatewayName})
	return err
}

// typed runs the commands of a section of docs/operations.md that change the Secret and
// the ConfigMap. Nothing runs pods here: what else is there to type is test/e2e's.
func typed(t *testing.T, heading string) {
	t.Helper()
	for _, command := range documented.Commands(t, "docs/operations.md", heading) {
		if !strings.Contains(command, " patch ") {
			continue
		}
		if out, err := documented.Run(t, shared.Kubeconfig, shared.Binaries(), command); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

// replaceCA has the gateway's CA replaced as docs/operations.md says, and waits until
// the previous one has signed the new one.
func replaceCA(t *testing.T) {
	t.Helper()
	before := authority(t, gatewaySecret)
	typed(t, "### Replace the gateway's CA")
	await.Until(t, "the new CA is signed by the previous one", func() bool {
		secret := caSecret(t)
		return len(secret["tls.crt"]) != 0 && !bytes.Equal(secret["tls.crt"], before) && bytes.Equal(secret["signer.crt"], secret["tls.crt"])
	})
}

func caSecret(t *testing.T) map[string][]byte {
	t.Helper()
	got, err := shared.Client.CoreV1().Secrets(manifests.Namespace).Get(t.Context(), gatewaySecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Data
}

func TestBundlesOfBeforeVerifyThroughThreeRotations(t *testing.T) {
	install(t)
	replicas := []*source{start(t, gatewayOptions(t)), start(t, gatewayOptions(t))}
	for _, replica := range replicas {
		replica.waitReady(t)
	}
	// Each is what a pod would have that was created before the rotation.
	bundles := [][]byte{authority(t, gatewaySecret)}
	for n := range 3 {
		serial := replicas[0].serial(t)
		replaceCA(t)
		bundles = append(bundles, authority(t, gatewaySecret))
		await.Until(t, "a certificate of the new CA is served", func() bool {
			for i, replica := range replicas {
				for j, bundle := range bundles[:n+1] {
					if err := shows(t, replica, bundle); err != nil {
						t.Errorf("rotation %d: replica %d for bundle %d: %v", n, i, j, err)
					}
				}
			}
			return replicas[0].serial(t) != serial && shows(t, replicas[1], bundles[n+1]) == nil
		})
		cert, err := replicas[0].GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(cert.Certificate); got != n+2 {
			t.Errorf("rotation %d: %d certificates are served", n, got)
		}
		// A replica that starts now has not served with the CA before.
		o := gatewayOptions(t)
		o.PropagationDelay = time.Hour
		replica := start(t, o)
		replica.waitReady(t)
		for j, bundle := range bundles {
			if err := shows(t, replica, bundle); err != nil {
				t.Errorf("rotation %d: a replica that started later for bundle %d: %v", n, j, err)
			}
		}
	}
	for i, bundle := range bundles {
		if !bytes.Contains([]byte(configMapBundle(t)), bundle) {
			t.Errorf("CA %d, still valid, is not published any more", i)
		}
	}
}

// What the thief of a CA's key can do ends for pods that are created afterwards.
func TestAStolenCAIsNotAcceptedAfterACleanBreak(t *testing.T) {
	install(t)
	s := start(t, gatewayOptions(t))
	s.waitReady(t)
	replaceCA(t)
	stolen, old := caSecret(t), []byte(configMapBundle(t))
	forged := forge(t, stolen["tls.crt"], stolen["tls.key"])
	if err := acceptsChain(old, forged); err != nil {
		t.Fatalf("a stolen key is good for nothing: %v", err)
	}

	typed(t, "### A stolen key of the gateway's CA")
	await.Until(t, "only the new CA is published", func() bool {
		bundle := []byte(configMapBundle(t))
		return len(bundle) != 0 && bytes.Equal(bundle, authority(t, gatewaySecret)) && !bytes.Equal(bundle, stolen["tls.crt"])
	})
	fresh := []byte(configMapBundle(t))
	await.Until(t, "a certificate of the new CA is served", func() bool { return shows(t, s, fresh) == nil })
	s.waitReady(t)
	if err := acceptsChain(fresh, forged); err == nil {
		t.Error("what the stolen key signs is accepted")
	}
	if err := shows(t, s, old); err == nil {
		t.Error("the new CA was signed with the stolen key")
	}
	if cross := caSecret(t)["cross.crt"]; len(cross) != 0 {
		t.Errorf("there are cross certificates:\n%s", cross)
	}
}

// forge signs a certificate for the gateway's name.
func forge(t *testing.T, caCert, caKey []byte) [][]byte {
	t.Helper()
	pair, err := tls.X509KeyPair(caCert, caKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{gatewayName},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, pair.Leaf, key.Public(), pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{der}
}

// Without a cross certificate, as after a Secret was emptied, a replica that starts has
// to wait, and says until when.
func TestAReplicaThatStartsAfterACleanBreakSaysHowLongItWaits(t *testing.T) {
	install(t)
	s := start(t, gatewayOptions(t))
	s.waitReady(t)
	old := authority(t, gatewaySecret)
	blank(t, gatewaySecret)
	await.Until(t, "the new CA is published", func() bool {
		ca := authority(t, gatewaySecret)
		return len(ca) != 0 && !bytes.Equal(ca, old) && bytes.Contains([]byte(configMapBundle(t)), ca)
	})
	o := gatewayOptions(t)
	o.PropagationDelay = time.Hour
	replica := start(t, o)
	var wait *certs.WaitError
	await.Until(t, "the replica says how long it waits", func() bool { return errors.As(replica.Ready(), &wait) }, replica.text)
	if left := wait.Remaining(time.Now()); left <= 0 || left > time.Hour {
		t.Errorf("it waits for %s", left)
	}
}

// The CA of an installation of before has no copy yet.
func TestTheCAOfAnOlderVersionIsTakenOver(t *testing.T) {
	install(t)
	s := start(t, gatewayOptions(t))
	s.waitReady(t)
	secrets := shared.Client.CoreV1().Secrets(manifests.Namespace)
	got, err := secrets.Get(t.Context(), gatewaySecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for key := range got.Data {
		if key != corev1.TLSCertKey && key != corev1.TLSPrivateKeyKey && key != "ca.crt" {
			delete(got.Data, key)
		}
	}
	before := bytes.Clone(got.Data[corev1.TLSCertKey])
	if _, err := secrets.Update(t.Context(), got, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the CA is copied", func() bool { return bytes.Equal(caSecret(t)["signer.crt"], before) })
	if !bytes.Equal(authority(t, gatewaySecret), before) {
		t.Error("the CA was replaced")
	}
}
