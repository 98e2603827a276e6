package node

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

//go:embed config
var config embed.FS

// cniPlugins is where Debian keeps the network plugins.
const cniPlugins = "/usr/lib/cni"

// runtimeState is containerd's folder for what runs. The machine has a /run of
// its own.
const runtimeState = "/run/containerd"

// settings fill the configuration files.
type settings struct {
	Dir, State, Plugins, PauseImage, Address, Name string
	KubeletCA, KubeletCert, KubeletKey             string
	PodLogs, ProxyKubeconfig                       string
}

// configure writes one of the configuration files.
func (n *Node) configure(name string, s settings) (string, error) {
	s.Dir, s.State, s.Plugins = n.dir, runtimeState, cniPlugins
	parsed, err := template.New(name).Option("missingkey=error").ParseFS(config, "config/"+name)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	if err := parsed.Execute(&text, s); err != nil {
		return "", err
	}
	path := filepath.Join(n.dir, name)
	return path, os.WriteFile(path, []byte(text.String()), 0o644)
}

func (n *Node) socket() string { return filepath.Join(n.dir, "containerd.sock") }

func (n *Node) startContainerd(ctx context.Context, o Options) error {
	s := settings{PauseImage: o.PauseImage}
	file, err := n.configure("containerd.toml", s)
	if err != nil {
		return err
	}
	networks := filepath.Join(n.dir, "cni")
	if err := os.Mkdir(networks, 0o755); err != nil {
		return err
	}
	network, err := n.configure("pods.conflist", s)
	if err != nil {
		return err
	}
	if err := os.Rename(network, filepath.Join(networks, "10-pods.conflist")); err != nil {
		return err
	}
	path, err := exec.LookPath("containerd")
	if err != nil {
		return err
	}
	if err := n.run("containerd", path, "--config", file); err != nil {
		return err
	}
	if err := n.waitFor(ctx, "containerd that answers", func(ctx context.Context) error {
		return n.ctr(ctx, "version")
	}); err != nil {
		return err
	}
	for _, image := range o.Images {
		if err := n.Import(ctx, image); err != nil {
			return err
		}
	}
	return nil
}

// Import makes the images of a tar archive known to the node.
func (n *Node) Import(ctx context.Context, archive string) error {
	if err := n.ctr(ctx, "images", "import", archive); err != nil {
		return fmt.Errorf("import images: %w", err)
	}
	return nil
}

// ctr runs containerd's client in the namespace that Kubernetes uses.
func (n *Node) ctr(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "ctr", append([]string{"--address", n.socket(), "--namespace", "k8s.io"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ContainerPID is the id, in the machine, of a container's first process. The
// container is named as in a pod's status: containerd://ID.
func ContainerPID(container string) (int, error) {
	_, id, _ := strings.Cut(container, "://")
	text, err := os.ReadFile(filepath.Join(runtimeState, "io.containerd.runtime.v2.task", "k8s.io", id, "init.pid"))
	if err != nil {
		return 0, fmt.Errorf("find the process of container %s: %w", container, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Binaries is the folder of the cluster's programs, kubectl among them.
func (n *Node) Binaries() string { return n.binaries }
