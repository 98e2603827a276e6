// Package node runs a whole Kubernetes cluster of one node for tests: the
// control plane of test/cluster, controller manager, scheduler and kube-proxy,
// and a kubelet that runs real pods on containerd and runc. It needs a machine of
// test/machine around it.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/machine"
	"github.com/gatepass/gatepass/test/pki"
	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/servers"
)

// Name is the node's.
const Name = "node"

const (
	// readyTimeout is what a person is promised.
	readyTimeout = 60 * time.Second
	poll         = 50 * time.Millisecond
)

// Programs are what a machine needs to be a node.
func Programs() []machine.Program {
	return []machine.Program{
		{Name: "containerd", Package: "containerd"},
		{Name: "ctr", Package: "containerd"},
		{Name: "runc", Package: "runc"},
		{Name: cniPlugins + "/ptp", Package: "containernetworking-plugins"},
		{Name: "nft", Package: "nftables"},
		{Name: "conntrack", Package: "conntrack"},
	}
}

// Options describes a cluster of one node.
type Options struct {
	// Images are tar archives that the node holds, the pause image among them.
	// There is no registry to fetch others from.
	Images []string
	// PauseImage is the name of the image that holds a pod's namespaces.
	PauseImage string
	// KubeletAhead runs the kubelet with a clock that is servers.KubeletAheadBy
	// fast.
	KubeletAhead bool
	// APIServerArgs are further flags of kube-apiserver, without dashes.
	APIServerArgs map[string][]string
	// Out receives progress for a person, should binaries have to be built; nil
	// means stderr.
	Out io.Writer
}

// Node is a running cluster.
type Node struct {
	*cluster.Cluster

	// Took is the time from the first process to a node that is Ready.
	Took time.Duration

	dir         string // of the machine
	binaries    string
	kubeletPath string
	guard       *process.Guard
	kubelet     credentials
	running     []part
}

// part is a running server.
type part struct {
	name string
	*process.Process
}

// credentials secure the kubelet's own API, which logs and exec use.
type credentials struct{ ca, cert, key, clientCert, clientKey string }

// Start runs a cluster and returns when its node is Ready. It has to be
// called inside of a machine. Stop must be called.
func Start(ctx context.Context, o Options) (*Node, error) {
	if machine.Dir() == "" {
		return nil, errors.New("a node runs in a machine of its own only; see test/machine")
	}
	if o.Out == nil {
		o.Out = os.Stderr
	}
	binaries, err := servers.Ensure(ctx, servers.Options{Parts: append(servers.ControlPlane(), servers.Node()...), Out: o.Out})
	if err != nil {
		return nil, err
	}
	kubelet := filepath.Join(binaries, "kubelet")
	if o.KubeletAhead {
		dir, err := servers.Ensure(ctx, servers.Options{Parts: []string{servers.KubeletAhead}, Out: o.Out})
		if err != nil {
			return nil, err
		}
		kubelet = filepath.Join(dir, servers.KubeletAhead)
	}
	guard, err := process.NewGuard()
	if err != nil {
		return nil, err
	}
	n := &Node{dir: machine.Dir(), binaries: binaries, kubeletPath: kubelet, guard: guard}
	began := time.Now()
	if err := n.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start a node: %w", err), n.logEnds(), n.Stop())
	}
	n.Took = time.Since(began)
	return n, nil
}

func (n *Node) start(ctx context.Context, o Options) error {
	if err := n.makeCredentials(); err != nil {
		return err
	}
	// Containerd and its images do not wait for the API server.
	imported := make(chan error, 1)
	go func() { imported <- n.startContainerd(ctx, o) }()
	err := n.startControlPlane(ctx, o)
	if err := errors.Join(err, <-imported); err != nil {
		return err
	}
	for _, start := range []func() error{n.startControllerManager, n.startScheduler, n.startKubelet} {
		if err := start(); err != nil {
			return err
		}
	}
	// kube-proxy waits half a minute if it finds its node without an address.
	if err := n.waitFor(ctx, "a node with an address", n.hasAddress); err != nil {
		return err
	}
	if err := n.startProxy(); err != nil {
		return err
	}
	return n.waitFor(ctx, "a node that is Ready", n.ready)
}

func (n *Node) startControlPlane(ctx context.Context, o Options) error {
	args := map[string][]string{
		"authorization-mode":            {"Node", "RBAC"},
		"enable-admission-plugins":      {"NodeRestriction"},
		"kubelet-certificate-authority": {n.kubelet.ca},
		"kubelet-client-certificate":    {n.kubelet.clientCert},
		"kubelet-client-key":            {n.kubelet.clientKey},
		// The default begins with the host name, which nobody resolves here.
		"kubelet-preferred-address-types": {"InternalIP"},
	}
	for flag, values := range o.APIServerArgs {
		args[flag] = values
	}
	c, err := cluster.Start(ctx, cluster.Options{Address: machine.NodeAddress, APIServerArgs: args, Out: o.Out})
	n.Cluster = c
	return err
}

// makeCredentials issues the kubelet's serving certificate and the API
// server's client certificate for it.
func (n *Node) makeCredentials() error {
	ca, err := pki.NewCA("kubelet")
	if err != nil {
		return err
	}
	serving, err := ca.Server(machine.NodeAddress, Name)
	if err != nil {
		return err
	}
	client, err := ca.Client("kube-apiserver-kubelet-client")
	if err != nil {
		return err
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(n.dir, name)
		err = errors.Join(err, os.WriteFile(path, content, 0o600))
		return path
	}
	n.kubelet = credentials{
		ca:         write("kubelet-ca.crt", ca.PEM()),
		cert:       write("kubelet.crt", serving.Cert),
		key:        write("kubelet.key", serving.Key),
		clientCert: write("kubelet-client.crt", client.Cert),
		clientKey:  write("kubelet-client.key", client.Key),
	}
	return err
}

// run starts a server and keeps it for Stop.
func (n *Node) run(name, path string, args ...string) error {
	p, err := process.Start(process.Options{
		Name: name, Path: path, Args: args, Guard: n.guard,
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir},
	})
	if err != nil {
		return err
	}
	n.running = append(n.running, part{name, p})
	return nil
}

func (n *Node) binary(name string) string { return filepath.Join(n.binaries, name) }

// waitFor repeats a check until it succeeds; it gives up when a server ends.
func (n *Node) waitFor(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		for _, p := range n.running {
			select {
			case <-p.Done():
				return fmt.Errorf("%s ended while the test waited for %s", p.name, what)
			default:
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("no %s within %s: %w", what, readyTimeout, err)
		}
	}
}

// logEnds is an error that carries the ends of the servers' logs.
func (n *Node) logEnds() error {
	const tail = 3000
	var errs []error
	for _, p := range n.running {
		text := p.Logs()
		errs = append(errs, fmt.Errorf("log of %s ends with:\n%s", p.name, text[max(0, len(text)-tail):]))
	}
	return errors.Join(errs...)
}

// KeepLogs writes what the servers and the pods logged into a folder.
func (n *Node) KeepLogs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, p := range n.running {
		errs = append(errs, os.WriteFile(filepath.Join(dir, p.name+".log"), []byte(p.Logs()), 0o644))
	}
	return errors.Join(append(errs, os.CopyFS(filepath.Join(dir, "pods"), os.DirFS(n.podLogs())))...)
}

func (n *Node) podLogs() string { return filepath.Join(n.dir, "pods") }

// Stop ends the servers. Containers end with the machine.
func (n *Node) Stop() error {
	var errs []error
	for i := len(n.running) - 1; i >= 0; i-- {
		// How they take the loss of those they depend on is not our concern.
		_ = n.running[i].Kill()
	}
	n.running = nil
	if n.Cluster != nil {
		errs = append(errs, n.Cluster.Stop())
	}
	return errors.Join(append(errs, n.guard.Release())...)
}
