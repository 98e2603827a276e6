package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/container"
	"github.com/gatepass/gatepass/test/product"
)

// story is what one step leaves to the next.
type story struct {
	*narrator

	isolation container.Kind
	cluster   *cluster.Cluster
	product   *product.Product
	gateway   *product.Server
	webhook   *product.Server
	// pod is as the API server admitted it.
	pod *corev1.Pod
	// volumes are the host's folders that stand for the pod's volumes, by name.
	volumes map[string]string
	// reviews is how many TokenReviews the API server had served before the
	// agent ran.
	reviews int

	ends []func() error
}

// atEnd has something stopped, in reverse order, when the story is over.
func (s *story) atEnd(stop func() error) { s.ends = append(s.ends, stop) }

func (s *story) finish() error {
	var errs []error
	for _, stop := range slices.Backward(s.ends) {
		errs = append(errs, stop())
	}
	s.ends = nil
	return errors.Join(errs...)
}

// tell runs the steps and stops everything, whatever happens.
func tell(ctx context.Context, n *narrator) (err error) {
	s := &story{narrator: n, isolation: container.Available(), volumes: map[string]string{}}
	if os.Getenv("GATEPASS_DEMO_ISOLATION") == string(container.None) {
		s.isolation = container.None
	}
	defer func() { err = errors.Join(err, s.finish()) }()
	began := time.Now()
	for _, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"A Kubernetes control plane starts", s.startCluster},
		{"Gatepass is installed from manifests/", s.install},
		{"Gateway and webhook start", s.startProduct},
		{"A pod asks for a session", s.createPod},
		{"The API server mints a token for exactly this pod", s.mintToken},
		{"The agent trades it for a session", s.runAgent},
		{"The gateway asked the API server whose token it was", s.showReview},
		{"The application reads its session", s.runApplication},
		{"A misspelt pod is refused", s.refusePod},
	} {
		s.step(step.title)
		if err := step.run(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("step %d, %q: %w", s.steps, step.title, err)
		}
	}
	if err := s.finish(); err != nil {
		return err
	}
	s.step("The end")
	s.say("Everything that ran here is stopped. All of it took %s.", time.Since(began).Round(100*time.Millisecond))
	return nil
}

func (s *story) startCluster(ctx context.Context) error {
	c, err := cluster.Start(ctx, cluster.Options{Out: s.out})
	if err != nil {
		return err
	}
	s.cluster = c
	s.atEnd(c.Stop)
	version, err := c.Version()
	if err != nil {
		return err
	}
	s.say("kube-apiserver %s and etcd are real and were ready after %s, at %s.", version, c.Took.Round(100*time.Millisecond), c.Host())
	s.say("There is no node: no kubelet, no scheduler. What a kubelet would do, this demo does, and says so.")
	return nil
}

// folder makes one for the demo's own files.
func (s *story) folder(name string) (string, error) {
	dir := filepath.Join(s.product.Dir(), name)
	return dir, os.MkdirAll(dir, 0o755)
}
