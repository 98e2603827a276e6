package keys

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// SecretEntry is where a Secret keeps the keys.
const SecretEntry = "session-keys.json"

// secret keeps keys in one Kubernetes Secret. It must exist, so that the gateway needs
// rights on that one name only: get and update.
type secret struct {
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
	// Rotation is how long a key signs before another takes its place; zero means
	// until Rotate.
	Rotation time.Duration
}

// NewSecret makes a ring whose keys are in a Secret. It does not connect.
func NewSecret(o SecretOptions) (*Ring, error) {
	namespace, name, ok := strings.Cut(o.Name, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q must be NAMESPACE/NAME, for example gatepass-system/gatepass-gateway-signing-keys", o.Name)
	}
	client, err := typedcorev1.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("client for the Secret %s: %w", o.Name, err)
	}
	return &Ring{&secret{secrets: client.Secrets(namespace), namespace: namespace, name: name}, o.Rotation}, nil
}

func (s *secret) String() string { return "the Secret " + s.namespace + "/" + s.name }

// read implements place. The update carries the resource version that was read, so
// that of two gateways one loses.
func (s *secret) read(ctx context.Context) ([]byte, func(context.Context, []byte) error, error) {
	found, err := s.secrets.Get(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return nil, nil, s.explain(err)
	}
	replace := func(ctx context.Context, text []byte) error {
		next := found.DeepCopy()
		// Versions before this one kept a key for each auth method, under its access id.
		maps.DeleteFunc(next.Data, func(entry string, _ []byte) bool { return strings.HasSuffix(entry, ".pem") })
		set(next, SecretEntry, text)
		_, err := s.secrets.Update(ctx, next, metav1.UpdateOptions{FieldManager: "gatepass-gateway"})
		if apierrors.IsConflict(err) {
			return errConflict
		}
		return s.explain(err)
	}
	return found.Data[SecretEntry], replace, nil
}

func set(secret *corev1.Secret, entry string, value []byte) {
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	secret.Data[entry] = value
}

func (s *secret) explain(err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("it does not exist; create it empty: %w", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the gateway needs the verbs get and update on it: %w", err)
	}
	return err
}
