package keys

import (
	"context"
	"crypto"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// Secret keeps keys in one Kubernetes Secret, under "<access id>.pem". The
// Secret must exist, so that the gateway needs rights on that one name only: get
// and update.
type Secret struct {
	secrets   typedcorev1.SecretInterface
	namespace string
	name      string
}

// SecretOptions name the Secret.
type SecretOptions struct {
	// Config reaches the API server with the gateway's own credentials.
	Config *rest.Config
	// Name is NAMESPACE/NAME.
	Name string
}

// NewSecret makes a store. It does not connect.
func NewSecret(o SecretOptions) (*Secret, error) {
	namespace, name, ok := strings.Cut(o.Name, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q must be NAMESPACE/NAME, for example gatepass-system/gatepass-gateway-signing-keys", o.Name)
	}
	client, err := typedcorev1.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("client for the Secret %s: %w", o.Name, err)
	}
	return &Secret{secrets: client.Secrets(namespace), namespace: namespace, name: name}, nil
}

// attempts bounds the race between gateways that start together. Each lost
// attempt means that another one wrote, and after that nothing is missing.
const attempts = 5

// Keys implements Store.
func (s *Secret) Keys(ctx context.Context, accessIDs []string, known map[string]crypto.Signer) (map[string]crypto.Signer, error) {
	var err error
	for range attempts {
		var keys map[string]crypto.Signer
		keys, err = s.try(ctx, accessIDs, known)
		if err == nil {
			return keys, nil
		}
		if !apierrors.IsConflict(err) {
			break
		}
	}
	return nil, s.explain(err)
}

// try reads the Secret and adds what is missing. The update carries the
// resource version that was read, so that of two gateways one loses, reads again
// and finds the other's keys.
func (s *Secret) try(ctx context.Context, accessIDs []string, known map[string]crypto.Signer) (map[string]crypto.Signer, error) {
	secret, err := s.secrets.Get(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	keys := make(map[string]crypto.Signer, len(accessIDs))
	changed := false
	for _, id := range accessIDs {
		entry := id + ".pem"
		encoded, ok := secret.Data[entry]
		if !ok {
			if keys[id], encoded, err = missing(known[id]); err != nil {
				return nil, err
			}
			set(secret, entry, encoded)
			changed = true
			continue
		}
		if keys[id], err = Parse(encoded); err != nil {
			return nil, fmt.Errorf("key %s %w", entry, err)
		}
	}
	if changed {
		_, err = s.secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: "gatepass-gateway"})
	}
	return keys, err
}

func set(secret *corev1.Secret, entry string, value []byte) {
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	secret.Data[entry] = value
}

func (s *Secret) explain(err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the Secret %s/%s for signing keys does not exist; create it empty: %w", s.namespace, s.name, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the gateway needs the verbs get and update on the Secret %s/%s: %w", s.namespace, s.name, err)
	}
	return fmt.Errorf("signing keys in the Secret %s/%s: %w", s.namespace, s.name, err)
}
