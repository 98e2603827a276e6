package certs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
)

// crossSigner has each new CA signed by the one before. All replicas do this, and
// the first one to update the Secret wins.
type crossSigner struct {
	secrets   typedcorev1.SecretInterface
	listWatch cache.ListerWatcher
	// secret is the name of the CA's Secret.
	secret string
	// observe receives the lineage whenever the Secret changes.
	observe func(lineage, time.Time)
	logger  *slog.Logger
}

func newCrossSigner(client kubernetes.Interface, namespace, secret string, observe func(lineage, time.Time), logger *slog.Logger) *crossSigner {
	return &crossSigner{
		secrets:   client.CoreV1().Secrets(namespace),
		listWatch: listWatchOf(client.CoreV1().RESTClient(), "secrets", namespace, secret),
		secret:    secret, observe: observe, logger: logger,
	}
}

// run keeps the Secret up to date until ctx is done.
func (c *crossSigner) run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	see := func(item any) {
		if secret, ok := item.(*corev1.Secret); ok {
			if l, err := lineageFrom(secret.Data); err == nil {
				c.observe(l, time.Now())
			}
			wake(changed)
		}
	}
	defer follow(ctx, c.logger, cache.InformerOptions{
		ListerWatcher: c.listWatch,
		ObjectType:    &corev1.Secret{},
		Handler:       cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, item any) { see(item) }},
	})()
	repeat(ctx, changed, c.update)
}

// update reads the Secret and has the CA signed if that is due.
func (c *crossSigner) update(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	secret, err := c.secrets.Get(ctx, c.secret, metav1.GetOptions{})
	if err != nil {
		return c.failed(err)
	}
	changes, broken := advance(secret.Data, time.Now())
	if changes == nil {
		return broken // errWaiting: the informer tells when there is a CA
	}
	l, err := lineageFrom(secret.Data)
	if err != nil {
		return err
	}
	maps.Copy(secret.Data, changes)
	if _, err := c.secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager}); err != nil {
		return c.failed(err)
	}
	cross := parseBundle(changes[crossKey])
	switch {
	case broken != nil:
		c.logger.Error("the new CA was not signed by the previous one; pods that were created before can't log in any more",
			"secret", c.secret, "error", broken)
	case l.complete || len(cross) == 0:
		c.logger.Info("CA lineage saved", "secret", c.secret, "ca_not_after", l.current.NotAfter, "cross_certificates", len(cross))
	default:
		c.logger.Info("the previous CA has signed the new one", "secret", c.secret, "ca_not_after", l.current.NotAfter,
			"cross_certificates", len(cross), "cross_not_after", cross[0].NotAfter)
	}
	return nil
}

// failed logs an error of the API server, unless it only says that another
// replica was faster.
func (c *crossSigner) failed(err error) error {
	if !apierrors.IsConflict(err) && !errors.Is(err, context.Canceled) {
		c.logger.Error("the CA's Secret can't be kept up to date; retrying", "secret", c.secret, "error", err)
	}
	return fmt.Errorf("the CA's Secret %s: %w", c.secret, err)
}
