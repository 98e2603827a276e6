package certs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func validOptions() SelfManagedOptions {
	return SelfManagedOptions{
		RESTConfig:           &rest.Config{Host: "https://localhost:1"},
		Namespace:            "gatepass-system",
		CASecret:             "gatepass-webhook-ca",
		Service:              "gatepass-webhook",
		WebhookConfiguration: "zz-gatepass",
	}
}

func TestNewSelfManagedChecksItsOptions(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*SelfManagedOptions)
		want []string
	}{
		{"complete options are accepted", func(*SelfManagedOptions) {}, nil},
		{"every missing option is named", func(o *SelfManagedOptions) { *o = SelfManagedOptions{} },
			[]string{"Namespace", "CASecret", "Service", "RESTConfig", "exactly one of"}},
		{"two places to publish in are refused", func(o *SelfManagedOptions) { o.ConfigMap = "gatepass-gateway-ca" },
			[]string{"exactly one of"}},
		{"a leaf that outlives its authority is refused", func(o *SelfManagedOptions) { o.CADuration = time.Hour },
			[]string{"LeafDuration"}},
		{"a negative delay is refused", func(o *SelfManagedOptions) { o.PropagationDelay = -1 }, []string{"PropagationDelay"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := validOptions()
			test.edit(&o)
			s, err := NewSelfManaged(o)
			if (err == nil) != (test.want == nil) {
				t.Fatalf("error %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q doesn't name %s", err, want)
				}
			}
			if err != nil {
				return
			}
			if _, err := s.GetCertificate(nil); !errors.Is(err, ErrNoCertificate) {
				t.Errorf("GetCertificate before the start: %v", err)
			}
			if err := s.Ready(); !errors.Is(err, ErrNoCertificate) {
				t.Errorf("Ready before the start: %v", err)
			}
			if got := s.NotAfter(); !got.IsZero() {
				t.Errorf("NotAfter before the start: %s", got)
			}
		})
	}
}

func TestDefaultsFollowTheTarget(t *testing.T) {
	o := validOptions()
	if o.propagationDelay() != DefaultWebhookPropagationDelay || o.caDuration() != DefaultWebhookCADuration {
		t.Errorf("webhook: delay %s, authority %s", o.propagationDelay(), o.caDuration())
	}
	o.WebhookConfiguration, o.ConfigMap = "", "gatepass-gateway-ca"
	if o.propagationDelay() != DefaultConfigMapPropagationDelay || o.caDuration() != DefaultConfigMapCADuration {
		t.Errorf("config map: delay %s, authority %s", o.propagationDelay(), o.caDuration())
	}
	o.PropagationDelay = time.Second
	if o.propagationDelay() != time.Second {
		t.Errorf("delay %s although one is set", o.propagationDelay())
	}
}

func TestPatches(t *testing.T) {
	client, err := kubernetes.NewForConfig(validOptions().RESTConfig)
	if err != nil {
		t.Fatal(err)
	}
	webhook, configMap := webhookTarget(client, "zz-gatepass"), configMapTarget(client, "ns", "ca")
	meta := metav1.ObjectMeta{ResourceVersion: "7"}
	hook := func(bundle string) admissionv1.MutatingWebhook {
		return admissionv1.MutatingWebhook{ClientConfig: admissionv1.WebhookClientConfig{CABundle: []byte(bundle)}}
	}
	for _, test := range []struct {
		name   string
		target *target
		object runtime.Object
		want   string
	}{
		{"the bundle is put where none is", webhook,
			&admissionv1.MutatingWebhookConfiguration{ObjectMeta: meta, Webhooks: []admissionv1.MutatingWebhook{hook("")}},
			`[{"op":"test","path":"/metadata/resourceVersion","value":"7"},
			  {"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"bmV3"}]`},
		{"only webhooks that lack the bundle are patched", webhook,
			&admissionv1.MutatingWebhookConfiguration{ObjectMeta: meta, Webhooks: []admissionv1.MutatingWebhook{hook("new"), hook("old")}},
			`[{"op":"test","path":"/metadata/resourceVersion","value":"7"},
			  {"op":"add","path":"/webhooks/1/clientConfig/caBundle","value":"bmV3"}]`},
		{"a configuration that has the bundle is left alone", webhook,
			&admissionv1.MutatingWebhookConfiguration{ObjectMeta: meta, Webhooks: []admissionv1.MutatingWebhook{hook("new")}}, ""},
		{"a configuration without webhooks is left alone", webhook, &admissionv1.MutatingWebhookConfiguration{ObjectMeta: meta}, ""},
		{"a config map without data gets it", configMap, &corev1.ConfigMap{ObjectMeta: meta},
			`[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/data","value":{"ca.crt":"new"}}]`},
		{"a config map keeps its other keys", configMap, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"other": "value"}},
			`[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/data/ca.crt","value":"new"}]`},
		{"a config map that has the bundle is left alone", configMap,
			&corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"ca.crt": "new"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			publication, ok := test.target.read(test.object)
			if !ok {
				t.Fatalf("%T is not read", test.object)
			}
			if _, ok := test.target.read("something else"); ok {
				t.Error("something else is read")
			}
			bundles := make([][]byte, len(publication.bundles))
			for i := range bundles {
				bundles[i] = []byte("new")
			}
			patch, err := publication.patchFrom(bundles)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if patch != nil {
					t.Errorf("patch %s, want none", patch)
				}
				return
			}
			if diff := cmp.Diff(decode(t, []byte(test.want)), decode(t, patch)); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
		})
	}
}

func decode(t *testing.T, data []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return v
}

func TestIsConflict(t *testing.T) {
	resource := schema.GroupResource{Resource: "configmaps"}
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "ca",
		field.ErrorList{field.Forbidden(field.NewPath("data"), "immutable")})
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"a conflict", apierrors.NewConflict(resource, "ca", nil), true},
		{"a failed test of a patch", apierrors.NewGenericServerResponse(
			http.StatusUnprocessableEntity, "", resource, "", "testing value /metadata/resourceVersion failed", 0, false), true},
		{"a wrapped one", fmt.Errorf("patch: %w", apierrors.NewConflict(resource, "ca", nil)), true},
		{"an object that fails validation", invalid, false},
		{"a refusal", apierrors.NewForbidden(resource, "ca", nil), false},
		{"another error", errors.New("other"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := isConflict(test.err); got != test.want {
				t.Errorf("isConflict(%v) = %t", test.err, got)
			}
		})
	}
}

func TestAuthorityFrom(t *testing.T) {
	ca := newTestCA(t, "ca", testNow, testNow.Add(time.Hour))
	leaf := ca.leaf(t, testNow, testNow.Add(time.Hour), "a")
	for _, test := range []struct {
		name string
		data []byte
		ok   bool
	}{
		{"an authority is read", ca.pem(), true},
		{"an empty secret holds none", nil, false},
		{"garbage is none", []byte("garbage"), false},
		{"a server's certificate is none", certPEM(leaf.Leaf), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cert, err := authorityFrom(&corev1.Secret{Data: map[string][]byte{"tls.crt": test.data}})
			if (err == nil) != test.ok || err == nil && !cert.Equal(ca.cert) {
				t.Errorf("authority %v, error %v", cert, err)
			}
			if err != nil && !errors.Is(err, errWaiting) {
				t.Errorf("error %v is not one that mends by waiting", err)
			}
		})
	}
}

func TestQuietHandler(t *testing.T) {
	var out bytes.Buffer
	log := logr.FromSlogHandler(quietHandler{slog.NewTextHandler(&out, nil)}).WithName("lib").WithValues("k", "v")
	log.Info("chatter")
	log.V(2).Info("more chatter")
	log.Error(apierrors.NewConflict(schema.GroupResource{}, "ca", nil), "lost a race")
	if out.Len() != 0 {
		t.Errorf("logged %s", &out)
	}
	log.Error(errors.New("trouble"), "real")
	if !strings.Contains(out.String(), "real") || !strings.Contains(out.String(), "level=ERROR") {
		t.Errorf("an error was lost: %s", &out)
	}
}

// TestStartEndsWithItsContext has an API server that only fails.
func TestStartEndsWithItsContext(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"an API server that refuses":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
		"an API server that is broken":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh", http.StatusInternalServerError) },
		"an API server that never answers": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 100)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case asked <- struct{}{}:
				default:
				}
				handler(w, r)
			}))
			transport := &http.Transport{}
			o := validOptions()
			o.RESTConfig = &rest.Config{Host: server.URL, Transport: transport}
			o.Logger = slog.New(slog.DiscardHandler)
			s, err := NewSelfManaged(o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Start(ctx) }()
			<-asked
			if err := s.Ready(); !errors.Is(err, ErrNoCertificate) {
				t.Errorf("Ready: %v", err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Start: %v", err)
			}
			transport.CloseIdleConnections()
			server.Close() // what is left of goroutines, TestMain finds
		})
	}
}
