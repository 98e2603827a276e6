package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
)

// requestTimeout bounds each call of the API server.
const requestTimeout = 10 * time.Second

// errWaiting says that something must come into being before there is
// anything to publish. Others are at work on it.
var errWaiting = errors.New("nothing to publish yet")

// publisher keeps the current authority in the published bundle.
type publisher struct {
	target *target
	// authority returns the current authority's certificate.
	authority func(context.Context) (*x509.Certificate, error)
	// observe is told what is published, whenever that changes.
	observe   func(bundles [][]byte, now time.Time)
	onPublish func(error)
	logger    *slog.Logger

	// changed receives when the target or the CA has changed.
	changed chan struct{}
	// waiting is the last reason that was told for having nothing to publish.
	waiting string

	mu     sync.Mutex
	latest *publication
}

// run publishes until ctx is done.
func (p *publisher) run(ctx context.Context) {
	defer follow(ctx, p.logger, cache.InformerOptions{
		ListerWatcher: p.target.listWatch,
		ObjectType:    p.target.objectType,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    p.see,
			UpdateFunc: func(_, item any) { p.see(item) },
			DeleteFunc: func(any) { p.vanish() },
		},
	})()
	repeat(ctx, p.changed, p.publish)
}

// publish brings the published bundle up to date. It reads the CA each time: to
// merge one that was replaced meanwhile would bring a stolen one back.
func (p *publisher) publish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	current, changed, err := p.tryPublish(ctx)
	switch {
	case errors.Is(err, errWaiting):
		p.wait(err)
	case isConflict(err):
		p.logger.Debug("another replica was faster; looking again", "target", p.target.String())
	case errors.Is(err, context.Canceled):
	case err != nil:
		p.logger.Error("the CA bundle can't be published; will try again", "target", p.target.String(), "error", err)
		p.notify(err)
	case changed:
		p.logger.Info("CA bundle published", "target", p.target.String(), "ca_not_after", current.NotAfter)
		p.notify(nil)
	}
	return err
}

// wait says once why there is nothing to publish.
func (p *publisher) wait(reason error) {
	if text := reason.Error(); text != p.waiting {
		p.waiting = text
		p.logger.Info("the CA bundle can't be published yet", "target", p.target.String(), "reason", reason)
	}
}

func (p *publisher) tryPublish(ctx context.Context) (current *x509.Certificate, changed bool, err error) {
	p.mu.Lock()
	latest := p.latest
	p.mu.Unlock()
	// After latest, so that the CA is not older than what it is merged into.
	if current, err = p.authority(ctx); err != nil {
		return nil, false, err
	}
	if latest == nil {
		return current, false, fmt.Errorf("%w: %s does not exist, or may not be read", errWaiting, p.target)
	}
	now := time.Now()
	bundles := make([][]byte, len(latest.bundles))
	for i, bundle := range latest.bundles {
		bundles[i] = mergeBundle(bundle, current, now)
	}
	patch, err := latest.patchFrom(bundles)
	if err != nil || patch == nil {
		return current, false, err
	}
	if err := p.target.patch(ctx, patch); err != nil {
		return current, false, fmt.Errorf("patch %s: %w", p.target, err)
	}
	return current, true, nil
}

// see takes note of a new version of the target.
func (p *publisher) see(item any) {
	publication, ok := p.target.read(item)
	if !ok {
		p.logger.Error("the watch delivered something else than what is published", "target", p.target.String(), "type", fmt.Sprintf("%T", item))
		return
	}
	p.setLatest(&publication)
	p.observe(publication.bundles, time.Now())
}

// vanish keeps what was observed last: clients keep what they know when the
// target is deleted (a kubelet leaves a mounted ConfigMap as it is), and
// replicas that all withdraw would turn a mistake into an outage.
func (p *publisher) vanish() {
	p.logger.Error("what the CA bundle is published in was deleted; apply the manifests again: new clients can't start without it",
		"target", p.target.String())
	p.setLatest(nil)
}

func (p *publisher) setLatest(latest *publication) {
	p.mu.Lock()
	p.latest = latest
	p.mu.Unlock()
	wake(p.changed)
}

func (p *publisher) notify(err error) {
	if p.onPublish != nil {
		p.onPublish(err)
	}
}

// authorityFrom parses the certificate in the authority's Secret.
func authorityFrom(secret *corev1.Secret) (*x509.Certificate, error) {
	certs := parseBundle(secret.Data[corev1.TLSCertKey])
	if len(certs) == 0 || !certs[0].IsCA {
		return nil, fmt.Errorf("%w: Secret %s/%s holds no authority", errWaiting, secret.Namespace, secret.Name)
	}
	return certs[0], nil
}

// isConflict says whether the object was changed since it was read. The API
// server answers a failed JSON Patch test with 422 and names no field, which
// it does for an object that fails validation.
func isConflict(err error) bool {
	if apierrors.IsConflict(err) {
		return true
	}
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || len(details.Causes) == 0
}
