package handover

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/gateway/catalog"
)

// The keys of the Secret.
const (
	AccessIDKey  = "access-id"
	AccessKeyKey = "access-key"
)

// Secret keeps credentials in one Kubernetes Secret. It must exist, so that the
// gateway needs rights on that one name only: get and update.
type Secret struct {
	secrets typedcorev1.SecretInterface
	place   string
	name    string
}

// SecretOptions name the Secret.
type SecretOptions struct {
	// Config reaches the API server with the gateway's own credentials.
	Config *rest.Config
	// Name is NAMESPACE/NAME.
	Name string
}

// NewSecret keeps credentials in a Secret. It does not connect.
func NewSecret(o SecretOptions) (*Secret, error) {
	namespace, name, ok := strings.Cut(o.Name, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q must be NAMESPACE/NAME, for example gatepass-system/gatepass-gateway-administrator", o.Name)
	}
	client, err := typedcorev1.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("client for the Secret %s: %w", o.Name, err)
	}
	return &Secret{secrets: client.Secrets(namespace), place: o.Name, name: name}, nil
}

// String names the Secret.
func (s *Secret) String() string { return "the Secret " + s.place }

// attempts bounds the race between gateways that start together. Each lost attempt
// means that another one wrote, and after that there is something to find.
const attempts = 5

// Keep fills the Secret if it is empty, and returns what is in it. One that holds
// anything else than credentials is left as it is.
func (s *Secret) Keep(ctx context.Context, fresh catalog.Credentials) (catalog.Credentials, error) {
	var kept catalog.Credentials
	var err error
	for range attempts {
		if kept, err = s.try(ctx, fresh); !apierrors.IsConflict(err) {
			break
		}
	}
	switch {
	case err == nil:
		return kept, nil
	case apierrors.IsNotFound(err):
		err = fmt.Errorf("it does not exist; create it empty: %w", err)
	case apierrors.IsForbidden(err):
		err = fmt.Errorf("the gateway needs the verbs get and update on it: %w", err)
	}
	return catalog.Credentials{}, fmt.Errorf("keep the administrator's credentials in %s: %w", s, err)
}

// try carries the resource version that was read with the update, so that of two
// gateways one loses, reads again and finds the other's credentials.
func (s *Secret) try(ctx context.Context, fresh catalog.Credentials) (catalog.Credentials, error) {
	secret, err := s.secrets.Get(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return catalog.Credentials{}, err
	}
	if len(secret.Data) == 0 {
		secret.Data = map[string][]byte{AccessIDKey: []byte(fresh.AccessID), AccessKeyKey: []byte(fresh.AccessKey)}
		_, err = s.secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: "gatepass-gateway"})
		return fresh, err
	}
	id, key := secret.Data[AccessIDKey], secret.Data[AccessKeyKey]
	if len(id) == 0 || len(key) == 0 {
		return catalog.Credentials{}, fmt.Errorf("it holds something else than %s and %s; empty it, or name another one", AccessIDKey, AccessKeyKey)
	}
	return catalog.Credentials{AccessID: string(id), AccessKey: string(key)}, nil
}

// Withdraw is for when another gateway was faster with other credentials, which
// gateways with this Secret can't be. It leaves the Secret alone and says so.
func (s *Secret) Withdraw() error {
	return errors.New(s.String() + " holds credentials that are not the administrator's")
}
