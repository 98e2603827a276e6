package certs_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/manifests"
	"github.com/gatepass/gatepass/test/pki"
)

const (
	webhookName = "gatepass-webhook.gatepass-system.svc"
	gatewayName = "gatepass-gateway.gatepass-system.svc"
)

func TestReplicasShareOneAuthority(t *testing.T) {
	install(t)
	before, err := shared.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), configuration, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	replicas := make([]*source, 4)
	for i := range replicas {
		replicas[i] = start(t, webhookOptions(t)) // all see the empty Secret and make an authority
	}
	for _, replica := range replicas {
		replica.waitReady(t)
	}
	ca := authority(t, webhookSecret)
	if bundle := mustWebhookBundle(t); !bytes.Equal(bundle, ca) {
		t.Errorf("published:\n%s\nwant the one authority:\n%s", bundle, ca)
	}
	for i, replica := range replicas {
		cert, err := replica.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := trusts(ca, cert.Leaf, webhookName); err != nil {
			t.Errorf("replica %d: %v", i, err)
		}
		if !replica.NotAfter().Equal(cert.Leaf.NotAfter) {
			t.Errorf("replica %d: NotAfter %s", i, replica.NotAfter())
		}
		if strings.Contains(replica.text(), "level=ERROR") {
			t.Errorf("replica %d lost a race loudly:\n%s", i, replica.text())
		}
	}
	after, err := shared.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), configuration, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if writes := after.Generation - before.Generation; writes != 1 {
		t.Errorf("the webhook configuration was written %d times for one authority", writes)
	}
	after.Webhooks[0].ClientConfig.CABundle = before.Webhooks[0].ClientConfig.CABundle
	if diff := cmp.Diff(before.Webhooks, after.Webhooks); diff != "" {
		t.Errorf("more than the bundle was changed (-before +after):\n%s", diff)
	}
}

func TestAWipedBundleIsRestored(t *testing.T) {
	install(t)
	s := start(t, webhookOptions(t))
	s.waitReady(t)
	ca := authority(t, webhookSecret)
	serial := s.serial(t)
	for _, patch := range []string{
		`[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]`,
		`[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"Z2FyYmFnZQ=="}]`,
	} {
		patchConfiguration(t, patch)
		await.Until(t, "the bundle is restored", func() bool { return bytes.Equal(mustWebhookBundle(t), ca) })
		s.waitReady(t)
	}
	if s.serial(t) != serial {
		t.Error("the certificate was changed for nothing")
	}
}

func TestWhatOthersPublishStays(t *testing.T) {
	install(t)
	other, err := pki.NewCA("other")
	if err != nil {
		t.Fatal(err)
	}
	patchConfigMap(t, `{"data":{"ca.crt":`+quote(string(other.PEM()))+`,"other":"value"}}`)
	s := start(t, gatewayOptions(t))
	s.waitReady(t)
	bundle := configMapBundle(t)
	for what, cert := range map[string][]byte{"the other's authority": other.PEM(), "our authority": authority(t, gatewaySecret)} {
		if !strings.Contains(bundle, string(cert)) {
			t.Errorf("%s is missing in:\n%s", what, bundle)
		}
	}
	got, err := shared.Client.CoreV1().ConfigMaps(manifests.Namespace).Get(t.Context(), gatewayBundle, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Data["other"] != "value" {
		t.Errorf("another key is %q", got.Data["other"])
	}
}

func TestARotationIsPublishedBeforeItIsServed(t *testing.T) {
	install(t)
	s := start(t, gatewayOptions(t))
	s.waitReady(t)
	old, serial := authority(t, gatewaySecret), s.serial(t)

	published := time.Now() // the last time that it was not
	blank(t, gatewaySecret)
	await.Until(t, "the new authority is published", func() bool {
		looked := time.Now()
		ca := authority(t, gatewaySecret)
		if len(ca) == 0 || bytes.Equal(ca, old) || !strings.Contains(configMapBundle(t), string(ca)) {
			published = looked
			return false
		}
		return true
	})
	if !strings.Contains(configMapBundle(t), string(old)) {
		t.Error("the old authority was taken out of the bundle")
	}
	await.Until(t, "the new certificate is served", func() bool {
		if err := s.Ready(); err != nil {
			t.Errorf("not ready in a rotation: %v", err)
		}
		return s.serial(t) != serial
	})
	if waited := time.Since(published); waited < shortDelay {
		t.Errorf("served %s after publication, want %s", waited, shortDelay)
	}
	cert, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := trusts(authority(t, gatewaySecret), cert.Leaf, gatewayName); err != nil {
		t.Error(err)
	}
}

func TestALostTargetIsToldAndMends(t *testing.T) {
	install(t)
	s := start(t, gatewayOptions(t))
	s.waitReady(t)
	configMaps := shared.Client.CoreV1().ConfigMaps(manifests.Namespace)
	if err := configMaps.Delete(t.Context(), gatewayBundle, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the log tells of it", func() bool { return strings.Contains(s.text(), "was deleted; apply the manifests again") }, s.text)
	// Pods keep the bundle that they have mounted.
	if err := s.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if _, err := configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: gatewayBundle}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the bundle is restored", func() bool { return strings.Contains(configMapBundle(t), string(authority(t, gatewaySecret))) })
	s.waitReady(t)
}

func TestADamagedAuthorityIsReplaced(t *testing.T) {
	for name, patch := range map[string]string{
		"no key":          `{"data":{"tls.key":null}}`,
		"garbage":         `{"data":{"tls.crt":"Z2FyYmFnZQ==","ca.crt":"Z2FyYmFnZQ=="}}`,
		"different bytes": `{"data":{"ca.crt":"YQ=="}}`,
	} {
		t.Run(name, func(t *testing.T) {
			install(t)
			s := start(t, gatewayOptions(t))
			s.waitReady(t)
			serial := s.serial(t)
			if _, err := shared.Client.CoreV1().Secrets(manifests.Namespace).Patch(t.Context(), gatewaySecret,
				types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			await.Until(t, "a certificate of a new authority is served", func() bool {
				return s.serial(t) != serial && s.Ready() == nil
			})
		})
	}
}

func TestWithoutRightsNothingIsServedAndTheReasonIsTold(t *testing.T) {
	install(t)
	if err := shared.EnsureServiceAccount(t.Context(), manifests.Namespace, "nobody-special"); err != nil {
		t.Fatal(err)
	}
	o := webhookOptions(t)
	o.RESTConfig = accountConfig(t, "nobody-special")
	s := start(t, o)
	await.Until(t, "the log says what is forbidden", func() bool {
		return strings.Contains(s.text(), `mutatingwebhookconfigurations.admissionregistration.k8s.io \"`+configuration+`\" is forbidden`)
	}, s.text)
	if err := s.Ready(); err == nil {
		t.Error("ready without rights")
	}
	if ca := authority(t, webhookSecret); len(ca) != 0 {
		t.Error("an authority came into being")
	}
}

func quote(text string) string {
	return `"` + strings.ReplaceAll(text, "\n", `\n`) + `"`
}
