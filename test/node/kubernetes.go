package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/machine"
)

const kubelet = "kubelet"

func (n *Node) startControllerManager() error {
	kubeconfig, err := n.KubeconfigFor("system:kube-controller-manager")
	if err != nil {
		return err
	}
	ca := filepath.Join(n.dir, "cluster-ca.crt")
	if err := os.WriteFile(ca, n.CA(), 0o644); err != nil {
		return err
	}
	return n.run("kube-controller-manager", n.binary("kube-controller-manager"),
		"--kubeconfig="+kubeconfig,
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--service-account-private-key-file="+n.SigningKeyFile(),
		"--root-ca-file="+ca,
		// A node that is busy with a test is not lost.
		"--node-monitor-grace-period=5m",
		// The default of 5 a second per controller would be what tests measure.
		"--concurrent-job-syncs=10",
		"--kube-api-qps=200", "--kube-api-burst=400",
		"--bind-address="+machine.NodeAddress,
	)
}

func (n *Node) startScheduler() error {
	kubeconfig, err := n.KubeconfigFor("system:kube-scheduler")
	if err != nil {
		return err
	}
	return n.run("kube-scheduler", n.binary("kube-scheduler"),
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--leader-elect=false", "--bind-address="+machine.NodeAddress)
}

func (n *Node) startKubelet() error {
	kubeconfig, err := n.KubeconfigFor("system:node:"+Name, "system:nodes")
	if err != nil {
		return err
	}
	file, err := n.configure("kubelet.yaml", settings{
		Address: machine.NodeAddress, PodLogs: n.podLogs(),
		KubeletCA: n.kubelet.ca, KubeletCert: n.kubelet.cert, KubeletKey: n.kubelet.key,
	})
	if err != nil {
		return err
	}
	return n.run(kubelet, n.kubeletPath,
		"--config="+file, "--kubeconfig="+kubeconfig, "--root-dir="+filepath.Join(n.dir, "kubelet"),
		"--cert-dir="+filepath.Join(n.dir, "kubelet-certs"),
		"--hostname-override="+Name, "--node-ip="+machine.NodeAddress)
}

// RestartKubelet stops the kubelet and starts it again, as an upgrade of a node
// does. Containers go on running. The new one knows no tokens and asks for
// others, for every projected volume at its next look at a pod.
func (n *Node) RestartKubelet() error {
	i := slices.IndexFunc(n.running, func(p part) bool { return p.name == kubelet })
	// Whatever it says when it is stopped, it must be gone.
	_ = n.running[i].Kill()
	n.running = slices.Delete(n.running, i, i+1)
	return n.startKubelet()
}

func (n *Node) startProxy() error {
	kubeconfig, err := n.KubeconfigFor("system:kube-proxy")
	if err != nil {
		return err
	}
	file, err := n.configure("kube-proxy.yaml", settings{ProxyKubeconfig: kubeconfig, Address: machine.NodeAddress, Name: Name})
	if err != nil {
		return err
	}
	return n.run("kube-proxy", n.binary("kube-proxy"), "--config="+file)
}

func (n *Node) hasAddress(ctx context.Context) error {
	got, err := n.Client.CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(got.Status.Addresses) == 0 {
		return errors.New("the node has no address")
	}
	return nil
}

func (n *Node) ready(ctx context.Context) error {
	got, err := n.Client.CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range got.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			return fmt.Errorf("the node is not Ready: %s", c.Message)
		}
	}
	// The node controller takes the taint away a moment later, and pods wait
	// for that.
	if len(got.Spec.Taints) > 0 {
		return fmt.Errorf("the node has the taint %s", got.Spec.Taints[0].Key)
	}
	return nil
}
