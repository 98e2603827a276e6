// Package cluster runs a real Kubernetes control plane, kube-apiserver and
// etcd, for tests. There is no controller manager, scheduler or kubelet: what
// they would do, tests ask for by name (PodToken, CreateNamespace).
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/servers"
)

// Bounds of the control plane's life. It is ready in about 4 s on 2 idle
// cores; the rest is for machines that also do something else.
const (
	startTimeout = 60 * time.Second
	stopTimeout  = 5 * time.Second
	goneTimeout  = 10 * time.Second
	poll         = 20 * time.Millisecond
)

// Options describes a control plane.
type Options struct {
	// Kubernetes is a version of test/servers, for example v1.35; empty means
	// the one chosen for the whole run.
	Kubernetes string
	// APIServerArgs are further flags of kube-apiserver, without dashes.
	APIServerArgs map[string][]string
	// Out receives progress for a person, should binaries have to be built;
	// nil means stderr.
	Out io.Writer
	// AttachLogs also prints what the servers log, to stderr.
	AttachLogs bool
	// Address, if set, is the machine's address at which pods and nodes reach the
	// API server. It is then served at the usual port, and also as the Service
	// kubernetes.
	Address string
}

// Cluster is a running control plane.
type Cluster struct {
	// Config is an administrator's access, not throttled by the client.
	Config *rest.Config
	// Client speaks to the API server as that administrator.
	Client *kubernetes.Clientset
	// Kubeconfig is a file with the same access.
	Kubeconfig string
	// Took is the time from the first process to readiness.
	Took time.Duration

	env     *envtest.Environment
	guard   *process.Guard
	kubectl string
	certs   string // the folder of the API server's keys
	servers []*Logs
}

// Logs is a server's output.
type Logs struct {
	process.Logs

	name string
}

// Start runs etcd and kube-apiserver on free ports and returns when the API
// server is ready. Stop must be called; should the caller die before, both
// are ended nevertheless.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Out == nil {
		o.Out = os.Stderr
	}
	dir, err := servers.Ensure(ctx, servers.Options{Kubernetes: o.Kubernetes, Out: o.Out})
	if err != nil {
		return nil, err
	}
	guard, err := process.NewGuard()
	if err != nil {
		return nil, err
	}
	c := &Cluster{guard: guard, kubectl: filepath.Join(dir, "kubectl")}
	if err := c.start(ctx, dir, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start a control plane: %w", err), c.serverLogs(), c.Stop())
	}
	return c, nil
}

// quieten discards controller-runtime's log, which would otherwise warn, with a
// stack trace, that nobody said where it goes. It is the process's own, and
// the first two settings of it must not meet: SetLogger reads without a lock
// (delegatingLogSink.Fulfill) what another writes.
//
//nolint:gochecknoglobals // The setting is once a process, as the log is.
var quieten = sync.OnceFunc(func() { log.SetLogger(logr.FromSlogHandler(slog.DiscardHandler)) })

func (c *Cluster) start(ctx context.Context, binaries string, o Options) error {
	quieten()
	began := time.Now()
	env, err := c.environment(binaries, o)
	if err != nil {
		return err
	}
	c.env = env
	ports, err := reservePorts(env)
	if err != nil {
		return err
	}
	c.Config, err = env.Start()
	if err := errors.Join(err, ports.Close()); err != nil {
		return err
	}
	c.Config.QPS = -1 // no throttle: a test measures the server, not the client
	if c.Client, err = kubernetes.NewForConfig(c.Config); err != nil {
		return err
	}
	c.Kubeconfig = filepath.Join(c.guard.Dir(), "kubeconfig")
	if err := os.WriteFile(c.Kubeconfig, env.KubeConfig, 0o600); err != nil {
		return err
	}
	if err := c.waitReady(ctx); err != nil {
		return err
	}
	c.Took = time.Since(began)
	return nil
}

// environment configures envtest. Everything that it would otherwise take
// from environment variables or guess is set.
func (c *Cluster) environment(binaries string, o Options) (*envtest.Environment, error) {
	existing := false
	env := &envtest.Environment{
		UseExistingCluster:       &existing,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  stopTimeout,
	}
	env.ControlPlane.Etcd = &envtest.Etcd{}
	api := env.ControlPlane.GetAPIServer()
	for _, s := range []struct {
		name, folder string
		path, dir    *string
		out, err     *io.Writer
	}{
		{"etcd", "data", &env.ControlPlane.Etcd.Path, &env.ControlPlane.Etcd.DataDir, &env.ControlPlane.Etcd.Out, &env.ControlPlane.Etcd.Err},
		{"kube-apiserver", "certs", &api.Path, &api.CertDir, &api.Out, &api.Err},
	} {
		logs := &Logs{name: s.name}
		c.servers = append(c.servers, logs)
		*s.out, *s.err = logs, logs
		if o.AttachLogs {
			both := io.MultiWriter(logs, os.Stderr)
			*s.out, *s.err = both, both
		}
		*s.dir = filepath.Join(c.guard.Dir(), s.folder)
		if err := os.Mkdir(*s.dir, 0o700); err != nil {
			return nil, err
		}
		path, err := c.launcher(s.name, filepath.Join(binaries, s.name))
		if err != nil {
			return nil, err
		}
		*s.path = path
	}
	c.certs = api.CertDir
	if o.Address != "" {
		if err := c.serveAt(o.Address, api); err != nil {
			return nil, err
		}
	}
	args := api.Configure()
	// A Service that a webhook names leads straight to its endpoints, since
	// there is no kube-proxy.
	args.Set("enable-aggregator-routing", "true")
	// envtest turns the ServiceAccount admission plugin off; pods then lack
	// what every real pod has. CreateNamespace makes the account it needs.
	args.Disable("disable-admission-plugins")
	for _, flag := range slices.Sorted(maps.Keys(o.APIServerArgs)) {
		args.Set(flag, o.APIServerArgs[flag]...)
	}
	return env, nil
}

// launcher writes a script that notes its process id for the guard and then
// becomes the server. envtest keeps the id to itself.
func (c *Cluster) launcher(name, binary string) (string, error) {
	path := filepath.Join(c.guard.Dir(), name)
	script := fmt.Sprintf("#!/bin/sh\necho $$ >%s\nexec %s \"$@\"\n", shellQuote(c.guard.PIDFile(name)), shellQuote(binary))
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		return "", err
	}
	return path, nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// waitReady waits for /readyz, which unlike envtest's /healthz also covers the
// start-up hooks, the default RBAC roles among them.
func (c *Cluster) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		status := 0
		err := c.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status).Error()
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready (status %d, %w): %w", status, err, ctx.Err())
		}
	}
}

// serverLogs is an error that carries the ends of the servers' logs.
func (c *Cluster) serverLogs() error {
	const tail = 2000
	var errs []error
	for _, l := range c.servers {
		text := l.String()
		errs = append(errs, fmt.Errorf("log of %s ends with:\n%s", l.name, text[max(0, len(text)-tail):]))
	}
	return errors.Join(errs...)
}

// PIDs returns the process ids of the running servers, by name.
func (c *Cluster) PIDs() map[string]int {
	pids := map[string]int{}
	for _, s := range c.servers {
		if pid := c.guard.PID(s.name); process.Alive(pid) {
			pids[s.name] = pid
		}
	}
	return pids
}

// Stop ends both servers and removes their files.
func (c *Cluster) Stop() error {
	pids := c.PIDs()
	if c.env != nil {
		// An error means that a server did not end in time and was killed.
		// An API server whose watchers stay connected does that by design, so
		// what counts is that the processes are gone.
		_ = c.env.Stop()
	}
	var errs []error
	for name, pid := range pids {
		if err := waitGone(name, pid); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, c.guard.Release())...)
}

func waitGone(name string, pid int) error {
	deadline := time.NewTimer(goneTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for process.Alive(pid) {
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("%s (pid %d) is still running %s after it was told to stop", name, pid, goneTimeout)
		}
	}
	return nil
}

// Host is the API server's address: https://127.0.0.1:PORT/.
func (c *Cluster) Host() string { return c.Config.Host }

// CA is the PEM certificate that the API server is verified with.
func (c *Cluster) CA() []byte { return c.Config.CAData }
