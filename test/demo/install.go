package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/container"
	"github.com/gatepass/gatepass/test/product"
	"github.com/gatepass/gatepass/test/repo"
)

// What the manifests call things.
const (
	system       = "gatepass-system"
	overlay      = "manifests/overlays/self-managed"
	gatewayHost  = "gatepass-gateway.gatepass-system.svc"
	gatewayPort  = 8000
	caInManifest = "/etc/gatepass/gateway-ca/ca.crt"
)

//go:embed config
var config embed.FS

// install applies the manifests and then what an administrator has to add: who
// may log in, and the profile that pods use.
func (s *story) install(ctx context.Context) error {
	root, err := repo.Root()
	if err != nil {
		return err
	}
	applied, warnings, err := s.cluster.Kubectl(ctx, "apply", "-k", filepath.Join(root, overlay))
	if err != nil {
		return err
	}
	s.say("kubectl apply -k %s", overlay)
	s.show(applied)
	if warnings != "" {
		return fmt.Errorf("the API server warned about our manifests: %s", warnings)
	}
	for _, part := range []string{"gateway", "webhook"} {
		content, err := config.ReadFile("config/" + part + ".yaml")
		if err != nil {
			return err
		}
		maps := s.cluster.Client.CoreV1().ConfigMaps(system)
		m, err := maps.Get(ctx, "gatepass-"+part+"-config", metav1.GetOptions{})
		if err != nil {
			return err
		}
		m.Data = map[string]string{"config.yaml": string(content)}
		if _, err := maps.Update(ctx, m, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	s.say("The administrator writes a profile and an auth method into the ConfigMaps: test/demo/config.")
	return nil
}

// startProduct runs both servers with the rights of their ServiceAccounts.
func (s *story) startProduct(ctx context.Context) error {
	p, err := product.New(ctx)
	if err != nil {
		return err
	}
	s.product = p
	s.atEnd(p.Close)
	s.say("Without a node the Deployments get no pods. The same commands run as processes on this")
	s.say("machine instead, as the ServiceAccounts of the manifests, with self-managed certificates.")
	if err := s.startGateway(ctx); err != nil {
		return err
	}
	return s.startWebhook(ctx)
}

func (s *story) startGateway(ctx context.Context) error {
	kubeconfig, err := s.kubeconfig(ctx, "gatepass-gateway")
	if err != nil {
		return err
	}
	file, err := s.mountConfig(ctx, "gatepass-gateway-config", nil)
	if err != nil {
		return err
	}
	data, err := s.folder("gateway-data")
	if err != nil {
		return err
	}
	options := product.GatewayOptions{
		Config: file, DataDir: data, Kubeconfig: kubeconfig,
		SelfManaged: &product.SelfManaged{Kubeconfig: kubeconfig, Namespace: system},
	}
	if s.isolation != container.None {
		// Every address of 127/8 is the machine's own on Linux, so the port
		// that the profile names is free on one of them.
		options.BindAddress = fmt.Sprintf("127.77.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff)
		options.Port = gatewayPort
	}
	if s.gateway, err = s.product.StartGateway(ctx, options); err != nil {
		return err
	}
	s.atEnd(s.gateway.Stop)
	s.say("gatepass-gateway is ready at %s:%d (pid %d).", s.gateway.Address, s.gateway.Port, s.gateway.PID())
	return nil
}

func (s *story) startWebhook(ctx context.Context) error {
	kubeconfig, err := s.kubeconfig(ctx, "gatepass-webhook")
	if err != nil {
		return err
	}
	ca, err := s.mountGatewayCA(ctx)
	if err != nil {
		return err
	}
	file, err := s.mountConfig(ctx, "gatepass-webhook-config", strings.NewReplacer(caInManifest, ca))
	if err != nil {
		return err
	}
	address, err := hostAddress()
	if err != nil {
		return err
	}
	s.webhook, err = s.product.StartWebhook(ctx, product.WebhookOptions{
		Config: file, BindAddress: address,
		SelfManaged: &product.SelfManaged{Kubeconfig: kubeconfig, Namespace: system},
	})
	if err != nil {
		return err
	}
	s.atEnd(s.webhook.Stop)
	s.say("gatepass-webhook is ready at %s:%d (pid %d).", address, s.webhook.Port, s.webhook.PID())
	if err := s.leadService(ctx, "gatepass-webhook", address, s.webhook.Port); err != nil {
		return err
	}
	s.say("An EndpointSlice leads the Service gatepass-webhook to it, as the kubelet's reports would.")
	return s.waitForWebhook(ctx)
}

// kubeconfig holds a token of a ServiceAccount of the manifests: what the
// server may do is what their RBAC says.
func (s *story) kubeconfig(ctx context.Context, account string) (string, error) {
	token, err := s.cluster.PodToken(ctx, cluster.TokenRequest{Namespace: system, ServiceAccount: account})
	if err != nil {
		return "", err
	}
	c := api.NewConfig()
	c.Clusters["demo"] = &api.Cluster{Server: s.cluster.Host(), CertificateAuthorityData: s.cluster.CA()}
	c.AuthInfos["demo"] = &api.AuthInfo{Token: token}
	c.Contexts["demo"] = &api.Context{Cluster: "demo", AuthInfo: "demo"}
	c.CurrentContext = "demo"
	file := filepath.Join(s.product.Dir(), account+".kubeconfig")
	return file, clientcmd.WriteToFile(*c, file)
}

// mountConfig writes a ConfigMap's config.yaml to a file, as its mount would.
func (s *story) mountConfig(ctx context.Context, name string, paths *strings.Replacer) (string, error) {
	m, err := s.cluster.Client.CoreV1().ConfigMaps(system).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	text := m.Data["config.yaml"]
	if paths != nil {
		text = paths.Replace(text)
	}
	dir, err := s.folder(name)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "config.yaml")
	return file, os.WriteFile(file, []byte(text), 0o644)
}

// mountGatewayCA writes the certificate that the gateway published to a file.
func (s *story) mountGatewayCA(ctx context.Context) (string, error) {
	dir, err := s.folder("gateway-ca")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "ca.crt")
	return file, eventually(ctx, func() error {
		m, err := s.cluster.Client.CoreV1().ConfigMaps(system).Get(ctx, "gatepass-gateway-ca", metav1.GetOptions{})
		if err != nil {
			return err
		}
		bundle := m.Data["ca.crt"]
		if bundle == "" {
			return errors.New("the gateway has not published its authority in ConfigMap gatepass-gateway-ca")
		}
		return os.WriteFile(file, []byte(bundle), 0o644)
	})
}

// leadService does what the endpoints controller does for a pod that is ready.
func (s *story) leadService(ctx context.Context, service, address string, port int) error {
	svc, err := s.cluster.Client.CoreV1().Services(system).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ready, number := true, int32(port) //nolint:gosec // a port is below 65536
	_, err = s.cluster.Client.DiscoveryV1().EndpointSlices(system).Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: service + "-demo", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &svc.Spec.Ports[0].Name, Port: &number}},
	}, metav1.CreateOptions{})
	return err
}

// waitForWebhook waits until the API server reaches the webhook and trusts it:
// its own caches follow the new objects within moments.
func (s *story) waitForWebhook(ctx context.Context) error {
	if _, _, err := s.cluster.Kubectl(ctx, "create", "namespace", podNamespace); err != nil {
		return err
	}
	if _, _, err := s.cluster.Kubectl(ctx, "label", "namespace", podNamespace, "pod-security.kubernetes.io/enforce=restricted"); err != nil {
		return err
	}
	if err := s.cluster.EnsureServiceAccount(ctx, podNamespace, "default"); err != nil {
		return err
	}
	return eventually(ctx, func() error {
		pod, err := s.admit(ctx, "--dry-run=server")
		if err != nil {
			return err
		}
		if len(pod.Spec.InitContainers) == 0 {
			return errors.New("the API server does not call the webhook")
		}
		return nil
	})
}

// hostAddress is one of this machine's addresses by which the API server can
// reach the webhook: the API refuses loopback addresses in EndpointSlices.
func hostAddress() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String(), nil
		}
	}
	return "", errors.New("this machine has no IPv4 address but loopback ones, and Kubernetes refuses those in EndpointSlices; " +
		"connect a network, or as root: ip link add gatepass0 type dummy && ip addr add 192.0.2.1/32 dev gatepass0 && ip link set gatepass0 up")
}

// Bounds of waiting for something that happens by itself within moments.
const (
	momentsTimeout = 30 * time.Second
	momentsPoll    = 50 * time.Millisecond
)

// eventually repeats a check until it succeeds.
func eventually(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, momentsTimeout)
	defer cancel()
	tick := time.NewTicker(momentsPoll)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("still not so after %s: %w", momentsTimeout, err)
		}
	}
}

// volumeFolder makes a host folder that stands for a volume of the pod.
func (s *story) volumeFolder(v corev1.Volume) error {
	dir, err := s.folder(filepath.Join("volumes", v.Name))
	if err != nil {
		return err
	}
	s.volumes[v.Name] = dir
	// The kubelet makes an emptyDir writable for everybody.
	return os.Chmod(dir, 0o777)
}
