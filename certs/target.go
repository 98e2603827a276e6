package certs

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// fieldManager is the name under which the bundle is written, so that
// `kubectl get --show-managed-fields` says whose it is.
const fieldManager = "gatepass-certs"

// BundleKey is the key of a ConfigMap under which the bundle is published.
const BundleKey = "ca.crt"

// target is an object in which the bundle is published.
type target struct {
	// kind and name are for people.
	kind, name string

	objectType runtime.Object
	listWatch  cache.ListerWatcher
	// read returns false for another type than objectType.
	read  func(item any) (publication, bool)
	patch func(ctx context.Context, patch []byte) error
}

func (t *target) String() string { return t.kind + " " + t.name }

// publication is what one version of a target publishes.
type publication struct {
	resourceVersion string
	// bundles are the bundles as they are, one for each place.
	bundles [][]byte
	// add returns the operation that puts a bundle in the i-th place.
	add func(i int, bundle []byte) operation
}

// operation is one of JSON Patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patchFrom returns the patch that publishes bundles[i] in the i-th place, or
// nil if that is so already. It applies to exactly the version that was read.
// A patch, not an update: an update through our types would delete fields that
// are newer than they.
func (p publication) patchFrom(bundles [][]byte) ([]byte, error) {
	ops := []operation{{Op: "test", Path: "/metadata/resourceVersion", Value: p.resourceVersion}}
	for i, bundle := range bundles {
		if !bytes.Equal(bundle, p.bundles[i]) {
			ops = append(ops, p.add(i, bundle))
		}
	}
	if len(ops) == 1 {
		return nil, nil
	}
	return json.Marshal(ops)
}

// webhookTarget publishes in every webhook of a MutatingWebhookConfiguration.
func webhookTarget(client kubernetes.Interface, name string) *target {
	configurations := client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	return &target{
		kind: "MutatingWebhookConfiguration", name: name,
		objectType: &admissionv1.MutatingWebhookConfiguration{},
		listWatch: listWatchOf(client.AdmissionregistrationV1().RESTClient(),
			"mutatingwebhookconfigurations", metav1.NamespaceAll, name),
		read: func(item any) (publication, bool) {
			configuration, ok := item.(*admissionv1.MutatingWebhookConfiguration)
			if !ok {
				return publication{}, false
			}
			p := publication{resourceVersion: configuration.ResourceVersion}
			for _, webhook := range configuration.Webhooks {
				p.bundles = append(p.bundles, webhook.ClientConfig.CABundle)
			}
			p.add = func(i int, bundle []byte) operation {
				return operation{"add", "/webhooks/" + strconv.Itoa(i) + "/clientConfig/caBundle", bundle}
			}
			return p, true
		},
		patch: func(ctx context.Context, patch []byte) error {
			_, err := configurations.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
			return err
		},
	}
}

// configMapTarget publishes under BundleKey of a ConfigMap.
func configMapTarget(client kubernetes.Interface, namespace, name string) *target {
	configMaps := client.CoreV1().ConfigMaps(namespace)
	return &target{
		kind: "ConfigMap", name: namespace + "/" + name,
		objectType: &corev1.ConfigMap{},
		listWatch:  listWatchOf(client.CoreV1().RESTClient(), "configmaps", namespace, name),
		read: func(item any) (publication, bool) {
			configMap, ok := item.(*corev1.ConfigMap)
			if !ok {
				return publication{}, false
			}
			return publication{
				resourceVersion: configMap.ResourceVersion,
				bundles:         [][]byte{[]byte(configMap.Data[BundleKey])},
				add: func(_ int, bundle []byte) operation {
					if configMap.Data == nil {
						return operation{"add", "/data", map[string]string{BundleKey: string(bundle)}}
					}
					return operation{"add", "/data/" + BundleKey, string(bundle)}
				},
			}, true
		},
		patch: func(ctx context.Context, patch []byte) error {
			_, err := configMaps.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
			return err
		},
	}
}

// listWatchOf selects one object by name, which is what lets RBAC grant list
// and watch with resourceNames.
func listWatchOf(client rest.Interface, resource, namespace, name string) cache.ListerWatcher {
	return cache.NewListWatchFromClient(client, resource, namespace, fields.OneTermEqualSelector(metav1.ObjectNameField, name))
}
