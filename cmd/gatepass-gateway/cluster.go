package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatepass/gatepass/certs"
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
	cluster, err := f.cluster()
	if err != nil {
		return nil, fmt.Errorf("--self-managed-certs: %w", err)
	}
	namespace, err := f.ownNamespace()
	if err != nil {
		return nil, fmt.Errorf("--self-managed-certs: %w", err)
	}
	return certs.NewSelfManaged(certs.SelfManagedOptions{
		RESTConfig: cluster,
		Namespace:  namespace,
		CASecret:   f.caSecret,
		Service:    f.service,
		ConfigMap:  f.caConfigMap,
		Logger:     log,
	})
}

// cluster is how to reach the gateway's own cluster as the gateway.
func (f *flags) cluster() (*rest.Config, error) {
	if f.kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("the gateway does not run in a cluster; give --kubeconfig, or host, CA and reviewer in the configuration: %w", err)
		}
		return cfg, nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return cfg, nil
}

// namespaceFile is where Kubernetes tells a pod its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

func (f *flags) ownNamespace() (string, error) {
	if f.namespace != "" {
		return f.namespace, nil
	}
	namespace, err := os.ReadFile(namespaceFile)
	if err != nil {
		return "", fmt.Errorf("the namespace is not known outside of a cluster; give --namespace: %w", err)
	}
	return strings.TrimSpace(string(namespace)), nil
}
