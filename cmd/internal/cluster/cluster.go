// Package cluster tells a command how to reach the Kubernetes cluster that it
// belongs to.
package cluster

import (
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config reads a kubeconfig or, if none is named, what Kubernetes gives to
// the pod that the command runs in.
func Config(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("the Kubernetes API is needed; outside of a cluster give --kubeconfig: %w", err)
		}
		return cfg, nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return cfg, nil
}

// namespaceFile is where Kubernetes tells a pod its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Namespace returns the one that was given or, if none was, the pod's own.
func Namespace(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	namespace, err := os.ReadFile(namespaceFile)
	if err != nil {
		return "", fmt.Errorf("the namespace is not known outside of a cluster; give --namespace: %w", err)
	}
	return strings.TrimSpace(string(namespace)), nil
}
