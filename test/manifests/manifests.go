// Package manifests renders the product's manifests for tests, and tests them
// on a real API server.
package manifests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/repo"
	"github.com/gatepass/gatepass/test/servers"
)

// Namespace is where the manifests install.
const Namespace = "gatepass-system"

// WebhookConfiguration is the name of the MutatingWebhookConfiguration.
const WebhookConfiguration = "zz-gatepass"

// The kustomizations that an administrator may apply.
const (
	Base        = "base"
	CertManager = "overlays/cert-manager"
	SelfManaged = "overlays/self-managed"
)

// Policies are the base's admission policies alone.
const Policies = "base/policies"

// What administrators make of the overlays and the components, as docs/operations.md
// tells them to.
const (
	CertManagerEtcd   = "../test/manifests/testdata/cert-manager-etcd"
	CertManagerVolume = "../test/manifests/testdata/cert-manager-volume"
	SelfManagedEtcd   = "../test/manifests/testdata/self-managed-etcd"
	SelfManagedVolume = "../test/manifests/testdata/self-managed-volume"
)

// Managed lists the kustomizations whose gateway has a store that stays.
func Managed() []string {
	return []string{CertManagerEtcd, CertManagerVolume, SelfManagedEtcd, SelfManagedVolume}
}

// All lists the kustomizations.
func All() []string { return append([]string{Base, CertManager, SelfManaged}, Managed()...) }

// HasOwnAuthorities is whether the certificates are self-managed.
func HasOwnAuthorities(kustomization string) bool {
	return strings.Contains(kustomization, "self-managed")
}

// Render returns what `kubectl kustomize` makes of a kustomization, as YAML.
func Render(ctx context.Context, c *cluster.Cluster, kustomization string) (string, error) {
	root, err := repo.Root()
	if err != nil {
		return "", err
	}
	out, _, err := c.Kubectl(ctx, "kustomize", filepath.Join(root, "manifests", kustomization))
	if err != nil {
		return "", fmt.Errorf("render manifests/%s: %w", kustomization, err)
	}
	return out, nil
}

// Objects parses rendered manifests.
func Objects(rendered string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(rendered), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("parse manifests: %w", err)
		}
		objects = append(objects, object)
	}
}

// Find returns the object of a kind and name as a typed one.
func Find[T any](objects []*unstructured.Unstructured, kind, name string) (*T, error) {
	for _, object := range objects {
		if object.GetKind() != kind || object.GetName() != name {
			continue
		}
		typed := new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, typed, true); err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind, name, err)
		}
		return typed, nil
	}
	return nil, fmt.Errorf("the manifests hold no %s %s", kind, name)
}

// ApplyCRDs installs cert-manager's CustomResourceDefinitions from its module
// and waits until the API server serves them.
func ApplyCRDs(ctx context.Context, c *cluster.Cluster) error {
	crds, err := servers.CRDs(ctx)
	if err != nil {
		return err
	}
	// Server-side, for the annotation of a client-side apply couldn't hold them.
	if _, _, err := c.Kubectl(ctx, "apply", "--server-side", "-f", crds); err != nil {
		return err
	}
	_, _, err = c.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
	return err
}
