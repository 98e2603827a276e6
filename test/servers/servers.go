// Package servers builds etcd, the Kubernetes servers and the add-ons of the
// test bed from pinned Go modules into the cache folder, once for each
// Kubernetes version.
//
// Each Kubernetes version and each add-on is a module of its own in this
// folder, so that their dependencies never meet those of the product or of its
// tests.
package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/test/repo"
	"github.com/gatepass/gatepass/test/skew"
)

// DefaultKubernetes is the version that is tested unless GATEPASS_TEST_KUBERNETES
// names another of the folders beside this file.
const DefaultKubernetes = "v1.37"

// EnvKubernetes is the variable that selects the Kubernetes version.
const EnvKubernetes = "GATEPASS_TEST_KUBERNETES"

// EnvAssets is the variable under which users of controller-runtime's envtest
// keep a folder of ready-made binaries. If it is set, only add-ons are built.
const EnvAssets = "KUBEBUILDER_ASSETS"

// ControlPlane lists the parts that every test needs.
func ControlPlane() []string { return []string{"etcd", "kube-apiserver", "kubectl"} }

// Node lists the further parts of a cluster that runs pods.
func Node() []string {
	return []string{"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}
}

// The add-ons: programs that no folder of ready-made binaries holds.
const (
	CoreDNS     = "coredns"
	CertManager = "cert-manager"
	// KubeletAhead is the kubelet with a clock that is KubeletAheadBy fast.
	KubeletAhead = "kubelet-ahead"
)

// KubeletAheadBy makes a kubelet replace projected tokens soon. It does so when a
// fifth of their life is left, and the shortest life is 10 minutes: this leaves half
// a minute.
const KubeletAheadBy = 450 * time.Second

// AddOns lists the add-ons.
func AddOns() []string { return []string{CoreDNS, CertManager, KubeletAhead} }

// Options says what to build.
type Options struct {
	// Kubernetes is a version folder, for example v1.37. Empty means the one
	// that EnvKubernetes names, else DefaultKubernetes.
	Kubernetes string
	// Parts are names out of ControlPlane, Node and AddOns; empty means
	// ControlPlane.
	Parts []string
	// Out receives progress for a person; nil discards it.
	Out io.Writer
}

// Ensure returns a folder that holds the parts, building what is missing or
// out of date. With EnvAssets set it returns that folder and builds nothing,
// unless all parts are add-ons: such folders don't hold any.
func Ensure(ctx context.Context, o Options) (string, error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if len(o.Parts) == 0 {
		o.Parts = ControlPlane()
	}
	if dir := os.Getenv(EnvAssets); dir != "" && !allAddOns(o.Parts) {
		return dir, checkAssets(dir, o.Parts)
	}
	b, err := newBuilder(ctx, o)
	if err != nil {
		return "", fmt.Errorf("build the servers of the test bed: %w", err)
	}
	if err := b.build(ctx, o.Parts); err != nil {
		return "", fmt.Errorf("build the servers of the test bed: %w", err)
	}
	return b.dir, nil
}

func allAddOns(parts []string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !slices.Contains(AddOns(), p) })
}

// checkAssets reports every part that the user's own folder lacks.
func checkAssets(dir string, parts []string) error {
	var errs []error
	for _, p := range parts {
		if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%s is set but its folder is not complete; add what is missing, or unset it to have everything built: %w",
			EnvAssets, errors.Join(errs...))
	}
	return nil
}

// target is one binary.
type target struct {
	name    string
	module  string // folder of the module that pins it
	pkg     string
	ldflags string
	cold    time.Duration // measured on 2 cores with an empty build cache
	skewed  bool          // with another clock, which ldflags set
}

// builder builds the targets of one Kubernetes version.
type builder struct {
	source  string // test/servers
	module  string // the version's folder in it
	version string // exact, for example v1.37.2
	dir     string // where the binaries go
	lock    string
	goVer   string
	out     io.Writer
}

func newBuilder(ctx context.Context, o Options) (*builder, error) {
	root, err := repo.Root()
	if err != nil {
		return nil, err
	}
	cache, err := repo.Cache()
	if err != nil {
		return nil, err
	}
	b := &builder{source: filepath.Join(root, "test", "servers"), module: o.Kubernetes, out: o.Out}
	if b.module == "" {
		b.module = os.Getenv(EnvKubernetes)
	}
	if b.module == "" {
		b.module = DefaultKubernetes
	}
	if err := b.checkVersion(); err != nil {
		return nil, err
	}
	if b.version, err = b.goOutput(ctx, b.module, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"); err != nil {
		return nil, err
	}
	if b.goVer, err = b.goOutput(ctx, b.module, "env", "GOVERSION", "GOOS", "GOARCH"); err != nil {
		return nil, err
	}
	b.dir = filepath.Join(cache, "servers", b.version)
	b.lock = filepath.Join(cache, "servers", b.version+".lock")
	return b, nil
}

// checkVersion refuses a version that no folder pins, naming those that exist.
func (b *builder) checkVersion() error {
	mods, err := filepath.Glob(filepath.Join(b.source, "v*", "go.mod"))
	if err != nil {
		return err
	}
	var have []string
	for _, m := range mods {
		have = append(have, filepath.Base(filepath.Dir(m)))
	}
	if !slices.Contains(have, b.module) {
		return fmt.Errorf("%s=%q is not a version of the test bed; use one of %s", EnvKubernetes, b.module, strings.Join(have, ", "))
	}
	return nil
}

// target describes a part. The version is stamped into the Kubernetes binaries
// because clients refuse to parse the unstamped one.
func (b *builder) target(part string) (target, error) {
	switch part {
	case "etcd":
		return target{name: part, module: "etcd", pkg: "go.etcd.io/etcd/server/v3", ldflags: "-s -w", cold: 55 * time.Second}, nil
	case CoreDNS:
		return target{name: part, module: "coredns", pkg: ".", ldflags: "-s -w", cold: 85 * time.Second}, nil
	case CertManager:
		return target{name: part, module: certManagerFolder, pkg: ".", ldflags: "-s -w", cold: 120 * time.Second}, nil
	}
	program := part
	if part == KubeletAhead {
		program = "kubelet"
	}
	cold := map[string]time.Duration{
		KubeletAhead:              150 * time.Second,
		"kube-apiserver":          330 * time.Second,
		"kubectl":                 25 * time.Second,
		"kube-controller-manager": 60 * time.Second,
		"kube-scheduler":          20 * time.Second,
		"kubelet":                 55 * time.Second,
		"kube-proxy":              20 * time.Second,
	}
	d, ok := cold[part]
	if !ok {
		return target{}, fmt.Errorf("%q is not a part; use some of %s", part, strings.Join(slices.Concat(ControlPlane(), Node(), AddOns()), ", "))
	}
	minor := strings.Split(b.version, ".")
	if len(minor) < 3 {
		return target{}, fmt.Errorf("k8s.io/kubernetes has version %q; expected vMAJOR.MINOR.PATCH", b.version)
	}
	const component = "-X k8s.io/component-base/version."
	ldflags := strings.Join([]string{
		"-s -w",
		component + "gitVersion=" + b.version,
		component + "gitMajor=" + strings.TrimPrefix(minor[0], "v"),
		component + "gitMinor=" + minor[1],
		"-X k8s.io/client-go/pkg/version.gitVersion=" + b.version,
	}, " ")
	t := target{name: part, module: b.module, pkg: "k8s.io/kubernetes/cmd/" + program, ldflags: ldflags, cold: d}
	if part == KubeletAhead {
		t.skewed = true
		t.ldflags += " " + skew.LinkerFlag(KubeletAheadBy)
	}
	return t, nil
}

// command is the go command in the folder of a pinned module. GOWORK=off and
// CGO_ENABLED=0 keep a developer's settings from changing what is built.
func (b *builder) command(ctx context.Context, module string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(b.source, module)
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=")
	return cmd
}

func (b *builder) goOutput(ctx context.Context, module string, args ...string) (string, error) {
	cmd := b.command(ctx, module, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s in test/servers/%s: %w: %s", args[0], module, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
