package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/certs"
	"github.com/gatepass/gatepass/cmd/internal/cluster"
	"github.com/gatepass/gatepass/gateway"
)

// certificateSource is a source that has to be run.
type certificateSource interface {
	gateway.CertificateSource
	Start(context.Context) error
	NotAfter() time.Time
}

func (f *flags) certificates(log *slog.Logger) (certificateSource, error) {
	if !f.selfManaged {
		files, err := certs.NewFiles(f.tlsCert, f.tlsKey)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		files.Logger = log
		return files, nil
	}
	own, err := f.cluster()
	if err != nil {
		return nil, fmt.Errorf("--self-managed-certs: %w", err)
	}
	namespace, err := cluster.Namespace(f.namespace)
	if err != nil {
		return nil, fmt.Errorf("--self-managed-certs: %w", err)
	}
	return certs.NewSelfManaged(certs.SelfManagedOptions{
		RESTConfig: own,
		Namespace:  namespace,
		CASecret:   f.caSecret,
		Service:    f.service,
		ConfigMap:  f.caConfigMap,
		Logger:     log,
	})
}

// cluster is how to reach the gateway's own cluster as the gateway.
func (f *flags) cluster() (*rest.Config, error) { return cluster.Config(f.kubeconfig) }
