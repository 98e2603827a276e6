// Package bed is a Kubernetes cluster of one node with Gatepass installed in it
// from the manifests, as pods and from images built here: the place where tests
// see what users will see.
package bed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/test/images"
	"github.com/gatepass/gatepass/test/machine"
	"github.com/gatepass/gatepass/test/node"
	"github.com/gatepass/gatepass/test/repo"
	"github.com/gatepass/gatepass/test/servers"
)

// Names of the images that only tests use.
const (
	// AppImage holds test/bed/app, a shell, and `gatepass`.
	AppImage = "gatepass.test/app:v1"
	// RootImage is the same with root as its user.
	RootImage = "gatepass.test/root:v1"
	// readableImage holds the agent with the mode that programs usually have; a
	// profile of the bed's is of it.
	readableImage = "gatepass.test/agent-readable:v1"
	dnsImage      = "gatepass.test/coredns:1"

	certManagerImage = "gatepass.test/cert-manager:1"
)

// System is the namespace that the manifests install into.
const System = "gatepass-system"

// shell is Debian's static busybox.
const shell = "/bin/busybox"

// Programs are what a machine needs to be a test bed.
func Programs() []machine.Program {
	return append(node.Programs(), machine.Program{Name: shell, Package: "busybox-static"})
}

// Options describe a test bed.
type Options struct {
	// Bare leaves Gatepass out.
	Bare bool
	// CertManager runs cert-manager and installs the overlay that has certificates
	// from it, instead of the self-managed one.
	CertManager bool
	// Kustomization is a folder below test/ with what is installed instead.
	Kustomization string
	// Prepare is called before that, for what it needs.
	Prepare func(context.Context, *Bed) error
	// KubeletAhead has projected tokens replaced by time every half a minute or so,
	// see servers.KubeletAheadBy.
	KubeletAhead bool
	// APIServerArgs are further flags of kube-apiserver, without dashes.
	APIServerArgs map[string][]string
	// Out receives progress for a person; nil means stderr.
	Out io.Writer
}

// Bed is a running cluster with Gatepass.
type Bed struct {
	*node.Node

	root string
	out  io.Writer
	ends []func() error
}

// AtEnd has Stop call a function, after those that are given later.
func (b *Bed) AtEnd(f func() error) { b.ends = append(b.ends, f) }

// Stop ends the cluster, and then what it needed.
func (b *Bed) Stop() error {
	err := b.Node.Stop()
	for _, end := range slices.Backward(b.ends) {
		err = errors.Join(err, end())
	}
	return err
}

// Start builds what is needed and runs it. It has to be called inside of a
// machine. Stop must be called.
func Start(ctx context.Context, o Options) (*Bed, error) {
	if o.Out == nil {
		o.Out = os.Stderr
	}
	root, err := repo.Root()
	if err != nil {
		return nil, err
	}
	b := &Bed{root: root, out: o.Out}
	archives, err := b.buildImages(ctx, o)
	if err != nil {
		return nil, err
	}
	b.Node, err = node.Start(ctx, node.Options{
		Images: archives, PauseImage: images.Pause().Ref, KubeletAhead: o.KubeletAhead, APIServerArgs: o.APIServerArgs, Out: o.Out,
	})
	if err != nil {
		return nil, err
	}
	b.say("The node is Ready after %s.", b.Took.Round(100*time.Millisecond))
	if err := b.install(ctx, o); err != nil {
		logs := b.Keep("start") //nolint:contextcheck // ctx may be what has ended
		return nil, errors.Join(fmt.Errorf("install into the test bed (logs are in %s): %w", logs, err), b.Stop())
	}
	return b, nil
}

func (b *Bed) say(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }

// buildImages makes the archives of all images for this machine's platform.
func (b *Bed) buildImages(ctx context.Context, o Options) ([]string, error) {
	began := time.Now()
	parts := []string{servers.CoreDNS}
	if o.CertManager {
		parts = append(parts, servers.CertManager)
	}
	binaries, err := servers.Ensure(ctx, servers.Options{Parts: parts, Out: b.out})
	if err != nil {
		return nil, err
	}
	all, err := images.Product(b.root, "e2e")
	if err != nil {
		return nil, err
	}
	all = append(all, images.Pause(), readableAgent(), application("app", AppImage, "1234:1234"), application("root", RootImage, "0:0"),
		server(dnsImage, filepath.Join(binaries, servers.CoreDNS), "0:0"))
	if o.CertManager {
		all = append(all, server(certManagerImage, filepath.Join(binaries, servers.CertManager), images.Nonroot))
	}
	dir := filepath.Join(machine.Dir(), "images")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	archives := make([]string, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for i, image := range all {
		group.Go(func() error {
			built, err := images.Build(ctx, images.Options{
				Image: image, Root: b.root, Dir: dir, Platforms: []images.Platform{{OS: "linux", Arch: runtime.GOARCH}},
			})
			archives[i] = built.File
			return err
		})
	}
	err = group.Wait()
	b.say("%d images are built, after %s.", len(all), time.Since(began).Round(100*time.Millisecond))
	return archives, err
}

// server is the image of a ready-made program.
func server(ref, program, user string) images.Image {
	name := filepath.Base(program)
	return images.Image{
		Name: name, Ref: ref, Title: name, Version: "1",
		Files:      []images.File{{Path: "/" + name, Source: program, Mode: 0o555}},
		Entrypoint: []string{"/" + name}, User: user,
	}
}

// readableAgent is the agent as it would be in an image that was built without
// care for its mode.
func readableAgent() images.Image {
	return images.Image{
		Name: "agent-readable", Ref: readableImage, Title: "Readable agent", Version: "v1",
		Files:      []images.File{{Path: config.AgentPath, Program: images.Program{Package: "./cmd/gatepass-agent"}}},
		Entrypoint: []string{config.AgentPath},
	}
}

// application is the image of the pods that tests start.
func application(name, ref, user string) images.Image {
	return images.Image{
		Name: name, Ref: ref, Title: "Application", Version: "v1",
		Files: []images.File{
			{Path: "/app", Program: images.Program{Module: "test", Package: "./bed/app"}},
			{Path: "/bin/sh", Source: shell, Mode: 0o555},
			{Path: "/bin/busybox", Source: shell, Mode: 0o555},
			{Path: "/bin/gatepass", Program: images.Program{Package: "./cmd/gatepass"}},
		},
		Entrypoint: []string{"/app"}, User: user,
	}
}

// Keep writes everything that helps to understand a failure into a folder of
// the cache, and returns it.
func (b *Bed) Keep(name string) string {
	cache, err := repo.Cache()
	if err != nil {
		return err.Error()
	}
	dir := filepath.Join(cache, "e2e-logs", name)
	if err := errors.Join(os.RemoveAll(dir), b.KeepLogs(dir)); err != nil {
		b.say("Some logs could not be kept: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
	defer cancel()
	for file, args := range map[string][]string{
		"objects.txt": {"get", "all,endpointslices,mutatingwebhookconfigurations", "-A", "-o", "wide"},
		"events.txt":  {"get", "events", "-A", "--sort-by=.metadata.creationTimestamp"},
		"pods.txt":    {"describe", "pods", "-A"},
	} {
		text, _, err := b.Kubectl(ctx, args...)
		if err != nil {
			text += err.Error()
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			b.say("Some logs could not be kept: %v", err)
		}
	}
	return dir
}

const keepTimeout = 30 * time.Second
