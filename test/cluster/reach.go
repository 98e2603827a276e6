package cluster

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/process"
)

const (
	// loopback is where servers listen that only this machine reaches.
	loopback = "127.0.0.1"
	// securePort is the API server's usual one.
	securePort = "6443"
	// serviceAddress is that of the Service kubernetes: the first of envtest's
	// range of Service addresses.
	serviceAddress = "10.0.0.1"
	// Names that envtest uses in the folder of the API server's certificates. If
	// the serving pair is there, it makes none.
	servingCert, servingKey = "apiserver.crt", "apiserver.key"
	signerCert, signerKey   = "sa-signer.crt", "sa-signer.key"
)

// serveAt makes the API server listen at an address that others can reach. Its
// certificate is for the Service kubernetes, too; envtest's would be for the
// address only.
func (c *Cluster) serveAt(address string, api *envtest.APIServer) error {
	api.Address, api.Port = address, securePort
	ca, err := pki.NewCA("cluster")
	if err != nil {
		return err
	}
	pair, err := ca.Server(address, serviceAddress, loopback, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local")
	if err != nil {
		return err
	}
	key, public, err := signerPair()
	if err != nil {
		return err
	}
	api.CA = ca.PEM()
	for name, content := range map[string][]byte{
		servingCert: pair.Cert, servingKey: pair.Key, signerCert: public, signerKey: key,
	} {
		if err := os.WriteFile(filepath.Join(api.CertDir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// reservePorts keeps ports for servers that listen at this machine only, until they
// do. envtest looks for free ones, and lets them go again.
func reservePorts(env *envtest.Environment) (*process.Ports, error) {
	ports, err := process.ReservePorts(3)
	if err != nil {
		return nil, err
	}
	at := func(i int) *url.URL {
		return &url.URL{Scheme: "http", Host: net.JoinHostPort(loopback, strconv.Itoa(ports.Numbers[i]))}
	}
	env.ControlPlane.Etcd.URL = at(0)
	env.ControlPlane.Etcd.Configure().Set("listen-peer-urls", at(1).String())
	if api := env.ControlPlane.GetAPIServer(); api.Address == "" {
		api.Address, api.Port = loopback, at(2).Port()
	}
	return ports, nil
}

// signerPair makes the key that signs ServiceAccount tokens.
func signerPair() (key, public []byte, err error) {
	const bits = 2048
	made, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of ServiceAccount tokens: %w", err)
	}
	key, err = x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of ServiceAccount tokens: %w", err)
	}
	public, err = x509.MarshalPKIXPublicKey(made.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of ServiceAccount tokens: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), nil
}

// SigningKeyFile holds the private key that ServiceAccount tokens are signed
// with; the controller manager wants it.
func (c *Cluster) SigningKeyFile() string { return filepath.Join(c.certs, signerKey) }

// KubeconfigFor writes a kubeconfig with a client certificate for a user, and
// returns its path.
func (c *Cluster) KubeconfigFor(user string, groups ...string) (string, error) {
	made, err := c.env.AddUser(envtest.User{Name: user, Groups: groups}, nil)
	if err != nil {
		return "", fmt.Errorf("make user %s: %w", user, err)
	}
	content, err := made.KubeConfig()
	if err != nil {
		return "", fmt.Errorf("make user %s: %w", user, err)
	}
	path := filepath.Join(c.guard.Dir(), filepath.Base(user)+".kubeconfig")
	return path, os.WriteFile(path, content, 0o600)
}
