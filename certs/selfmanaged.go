package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	servertls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Defaults of SelfManagedOptions.
const (
	// DefaultWebhookPropagationDelay is for an API server that watches the
	// webhook configuration: it learns of a change at once.
	DefaultWebhookPropagationDelay = 10 * time.Second
	// DefaultConfigMapPropagationDelay is for a ConfigMap mounted into pods. The
	// kubelet refreshes mounts with its sync loop, every 60 s to 90 s, from a
	// cache that may be as old again.
	DefaultConfigMapPropagationDelay = 3 * time.Minute

	// DefaultWebhookCADuration is an authority's life when its only client is
	// the API server.
	DefaultWebhookCADuration = 365 * 24 * time.Hour
	// DefaultConfigMapCADuration is longer, because a pod keeps for its whole
	// life the bundle that it was started with: an agent must be able to log
	// in for as long as its pod lives.
	DefaultConfigMapCADuration = 10 * 365 * 24 * time.Hour

	// DefaultLeafDuration is a serving certificate's life. It is renewed after
	// two thirds.
	DefaultLeafDuration = 7 * 24 * time.Hour
)

// retryInterval is how often a serving certificate is asked for while there
// is no authority yet. It bounds how long a first start takes.
const retryInterval = 250 * time.Millisecond

// SelfManagedOptions says where the authority is kept and published.
type SelfManagedOptions struct {
	// RESTConfig reaches the API server. Required.
	RESTConfig *rest.Config
	// Namespace holds the Secret, the Service and the ConfigMap. Required.
	Namespace string
	// CASecret names the Secret that holds the authority. It must exist, and is
	// filled when it is empty. Required.
	CASecret string
	// Service names the Service by which clients reach the server; the
	// certificate is valid for its names. Required.
	Service string
	// DNSNames are further names that the certificate is to be valid for.
	DNSNames []string

	// WebhookConfiguration names the MutatingWebhookConfiguration in whose
	// webhooks the authority is published. Set it or ConfigMap.
	WebhookConfiguration string
	// ConfigMap names the ConfigMap in which the authority is published, under
	// BundleKey. Set it or WebhookConfiguration.
	ConfigMap string

	// PropagationDelay is how long a new CA must have been published before a
	// certificate signed by it is served. Default:
	// DefaultWebhookPropagationDelay or DefaultConfigMapPropagationDelay.
	PropagationDelay time.Duration
	// CADuration is the authority's life; it is replaced after two thirds.
	// Default: DefaultWebhookCADuration or DefaultConfigMapCADuration.
	CADuration time.Duration
	// LeafDuration is the serving certificate's life. Default:
	// DefaultLeafDuration.
	LeafDuration time.Duration

	// Logger receives what happens; nil means slog.Default(). client-go's
	// reflectors log some of their troubles to klog: a program that wants those
	// too calls klog.SetSlogLogger.
	Logger *slog.Logger
	// OnPublish, if set, is called with nil after the published bundle was
	// changed, and with the reason when that failed.
	OnPublish func(error)
}

// validate reports everything that is wrong.
func (o *SelfManagedOptions) validate() error {
	var errs []error
	for _, required := range []struct{ name, value string }{
		{"Namespace", o.Namespace}, {"CASecret", o.CASecret}, {"Service", o.Service},
	} {
		if required.value == "" {
			errs = append(errs, fmt.Errorf("%s must be set", required.name))
		}
	}
	if o.RESTConfig == nil {
		errs = append(errs, errors.New("RESTConfig must be set"))
	}
	if (o.WebhookConfiguration == "") == (o.ConfigMap == "") {
		errs = append(errs, errors.New("exactly one of WebhookConfiguration and ConfigMap must be set"))
	}
	if o.PropagationDelay < 0 {
		errs = append(errs, errors.New("PropagationDelay must not be negative"))
	}
	if o.LeafDuration < 0 || o.CADuration < 0 || o.leafDuration() > o.caDuration() {
		errs = append(errs, errors.New("LeafDuration must not be longer than CADuration"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("self-managed certificates: %w", err)
	}
	return nil
}

func (o *SelfManagedOptions) propagationDelay() time.Duration {
	return o.pick(o.PropagationDelay, DefaultWebhookPropagationDelay, DefaultConfigMapPropagationDelay)
}

func (o *SelfManagedOptions) caDuration() time.Duration {
	return o.pick(o.CADuration, DefaultWebhookCADuration, DefaultConfigMapCADuration)
}

func (o *SelfManagedOptions) leafDuration() time.Duration {
	return o.pick(o.LeafDuration, DefaultLeafDuration, DefaultLeafDuration)
}

func (o *SelfManagedOptions) pick(set, webhook, configMap time.Duration) time.Duration {
	switch {
	case set != 0:
		return set
	case o.ConfigMap != "":
		return configMap
	}
	return webhook
}

// names returns what the certificate is valid for. A client in the cluster
// may use any form of a Service's name; the API server uses <name>.<ns>.svc.
func (o *SelfManagedOptions) names() []string {
	full := o.Service + "." + o.Namespace + ".svc"
	return append([]string{full, full + ".cluster.local", o.Service + "." + o.Namespace, o.Service}, o.DNSNames...)
}

// SelfManaged serves with certificates from a CA of its own, which all replicas
// share through one Secret. It uses what cert-manager's own webhook uses, and adds
// what that leaves to others: it publishes the CA, keeps the previous one published
// through a rotation, and serves a new CA's certificate only when the clients can
// know of it.
//
// A bundle in a ConfigMap is copied by its clients: a pod keeps it for its whole
// life. So there each new CA is also signed by the one before, and the certificates
// that come of it are served too. A client with an older bundle accepts the server
// until the newest CA in that bundle ends.
type SelfManaged struct {
	source    *servertls.DynamicSource
	authority *authority.DynamicAuthority
	gate      *gate
	publisher *publisher
	// crossSigner is nil when the clients are told of a new CA, and need no cross
	// certificate.
	crossSigner *crossSigner
	logger      *slog.Logger
}

// NewSelfManaged checks the options and calls nobody.
func NewSelfManaged(o SelfManagedOptions) (*SelfManaged, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(o.RESTConfig)
	if err != nil {
		return nil, fmt.Errorf("self-managed certificates: %w", err)
	}
	s := &SelfManaged{logger: o.Logger}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	s.authority = &authority.DynamicAuthority{
		SecretNamespace: o.Namespace,
		SecretName:      o.CASecret,
		RESTConfig:      o.RESTConfig,
		CommonName:      o.Service + "-ca",
		CADuration:      o.caDuration(),
		LeafDuration:    o.leafDuration(),
	}
	s.source = &servertls.DynamicSource{DNSNames: o.names(), Authority: s.authority, RetryInterval: retryInterval}
	s.gate = &gate{names: o.names(), delay: o.propagationDelay(), logger: s.logger}
	s.publisher = &publisher{
		target: webhookTarget(client, o.WebhookConfiguration),
		authority: func(ctx context.Context) (*x509.Certificate, error) {
			secret, err := client.CoreV1().Secrets(o.Namespace).Get(ctx, o.CASecret, metav1.GetOptions{})
			if err != nil {
				return nil, fmt.Errorf("read the certificate authority: %w", err)
			}
			return authorityFrom(secret)
		},
		observe:   s.gate.observe,
		onPublish: o.OnPublish,
		logger:    s.logger,
		changed:   make(chan struct{}, 1),
	}
	if o.ConfigMap != "" {
		s.publisher.target = configMapTarget(client, o.Namespace, o.ConfigMap)
		s.gate.crossSigned = true
		s.crossSigner = newCrossSigner(client, o.Namespace, o.CASecret, s.gate.observeCA, s.logger)
	}
	return s, nil
}

// Start keeps the authority, the certificate and the published bundle until
// ctx is done. It returns an error only if it can't go on; everything that may
// mend is tried again.
func (s *SelfManaged) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	s.authority.WatchRotation(s.publisher.changed)
	defer s.authority.StopWatchingRotation(s.publisher.changed)
	var beside sync.WaitGroup
	defer func() {
		cancel()
		beside.Wait()
	}()
	beside.Go(func() { s.publisher.run(ctx) })
	if s.crossSigner != nil {
		beside.Go(func() { s.crossSigner.run(ctx) })
	}
	quiet := logr.FromSlogHandler(quietHandler{s.logger.Handler()})
	if err := s.source.Start(logr.NewContext(ctx, quiet)); err != nil {
		return fmt.Errorf("self-managed certificates: %w", err)
	}
	return nil
}

// GetCertificate is for tls.Config.
func (s *SelfManaged) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	newest, err := s.source.GetCertificate(nil)
	if errors.Is(err, servertls.ErrNotAvailable) {
		return nil, ErrNoCertificate
	}
	if err != nil {
		return nil, err
	}
	return s.gate.choose(newest, time.Now()), nil
}

// Ready is nil when the certificate served is valid now and clients that trust
// what is published accept it.
func (s *SelfManaged) Ready() error {
	if _, err := s.GetCertificate(nil); err != nil {
		return fmt.Errorf("%w: Secret %s/%s has no authority yet, or may not be read and updated; see the log",
			err, s.authority.SecretNamespace, s.authority.SecretName)
	}
	return s.gate.ready(time.Now())
}

// NotAfter is when the certificate served expires, zero if there is none.
func (s *SelfManaged) NotAfter() time.Time {
	cert, err := s.GetCertificate(nil)
	if err != nil {
		return time.Time{}
	}
	return cert.Leaf.NotAfter
}
