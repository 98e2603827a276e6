package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/container"
	"github.com/gatepass/gatepass/test/product"
)

// mintToken does what the kubelet does before it starts the agent: it makes
// the pod's volumes, the projected token in one of them.
func (s *story) mintToken(ctx context.Context) error {
	for _, v := range s.pod.Spec.Volumes {
		if err := s.volumeFolder(v); err != nil {
			return err
		}
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.ServiceAccountToken == nil {
				return fmt.Errorf("volume %s projects something that the demo does not know", v.Name)
			}
			if err := s.project(ctx, v.Name, source.ServiceAccountToken); err != nil {
				return err
			}
		}
	}
	return nil
}

// project mints one token and writes it with the owner and the mode that the
// kubelet gives it when all containers run as the same user, as they do here.
func (s *story) project(ctx context.Context, volume string, want *corev1.ServiceAccountTokenProjection) error {
	token, err := s.cluster.PodToken(ctx, cluster.TokenRequest{
		Namespace: s.pod.Namespace, ServiceAccount: s.pod.Spec.ServiceAccountName, Pod: s.pod.Name,
		Audience: want.Audience, Seconds: *want.ExpirationSeconds,
	})
	if err != nil {
		return err
	}
	claims, err := decode(token)
	if err != nil {
		return err
	}
	s.say("TokenRequest, with audience and life as in the pod's volume %s (%s, %d s), bound to the pod:", volume, want.Audience, *want.ExpirationSeconds)
	s.show(claims)
	file := filepath.Join(s.volumes[volume], want.Path)
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return err
	}
	if s.isolation == container.Root {
		return os.Chown(file, s.user(), -1)
	}
	return nil
}

// user is the UID that the agent runs as.
func (s *story) user() int {
	if sc := s.pod.Spec.InitContainers[0].SecurityContext; sc != nil && sc.RunAsUser != nil {
		return int(*sc.RunAsUser)
	}
	return 0
}

// runAgent runs the injected container.
func (s *story) runAgent(ctx context.Context) error {
	var err error
	if s.reviews, err = s.tokenReviews(ctx); err != nil {
		return err
	}
	agent := s.pod.Spec.InitContainers[0]
	options, err := s.containerOptions(ctx, &agent, s.product.Path(product.Agent))
	if err != nil {
		return err
	}
	s.sayIsolation("The agent's own binary runs with exactly the injected environment, arguments and mounts, as user %d", s.user())
	began := time.Now()
	result, err := s.product.RunAgent(ctx, options)
	if err != nil {
		return err
	}
	took := time.Since(began)
	s.show(result.Logs)
	if result.ExitCode != 0 {
		return fmt.Errorf("the agent ended with exit code %d; its log above says why", result.ExitCode)
	}
	s.say("It ended with exit code 0 after %s.", took.Round(time.Millisecond))
	return nil
}

func (s *story) sayIsolation(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if s.isolation == container.None {
		s.say("%s,", text)
		s.say("except that paths are rewritten and a small proxy stands for the cluster's DNS:")
		s.say("this system allows no namespaces to this user.")
		return
	}
	s.say("%s,", text)
	s.say("in %s, with a read-only root and no capabilities.", s.isolation)
}

// containerOptions turns a container of the pod into a process to run.
func (s *story) containerOptions(ctx context.Context, c *corev1.Container, program string) (product.AgentOptions, error) {
	if s.isolation == container.None {
		return s.rewritten(ctx, c, program)
	}
	root, err := s.folder("root-" + c.Name)
	if err != nil {
		return product.AgentOptions{}, err
	}
	inside := "/" + filepath.Base(program)
	spec := container.Spec{Root: root, UID: s.user(), GID: s.user(), Path: inside, Args: c.Args, Env: environment(c)}
	spec.Mounts = append(spec.Mounts, container.Mount{Source: program, Target: inside, ReadOnly: true})
	for _, m := range c.VolumeMounts {
		spec.Mounts = append(spec.Mounts, container.Mount{Source: s.volumes[m.Name], Target: m.MountPath, ReadOnly: m.ReadOnly})
	}
	// In a cluster, DNS knows Services, and the kubelet makes the file for
	// last words.
	for target, content := range map[string]string{
		"/etc/hosts":           fmt.Sprintf("%s %s\n", s.gateway.Address, gatewayHost),
		"/dev/termination-log": "",
	} {
		file := filepath.Join(s.product.Dir(), c.Name+"-"+filepath.Base(target))
		if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
			return product.AgentOptions{}, err
		}
		spec.Mounts = append(spec.Mounts, container.Mount{Source: file, Target: target, ReadOnly: content != ""})
	}
	path, args, attr, err := spec.Command(s.isolation)
	return product.AgentOptions{Path: path, Args: args, SysProcAttr: attr}, err
}

func environment(c *corev1.Container) []string {
	var env []string
	for _, e := range c.Env {
		env = append(env, e.Name+"="+strings.ReplaceAll(e.Value, "$$", "$")) // as the kubelet does
	}
	return env
}

// rewritten is the second best: the process sees the host's file system, so
// every path that the pod names is replaced by the folder that stands for it.
func (s *story) rewritten(ctx context.Context, c *corev1.Container, program string) (product.AgentOptions, error) {
	var pairs []string
	for _, m := range c.VolumeMounts {
		pairs = append(pairs, m.MountPath+"/", s.volumes[m.Name]+"/")
	}
	paths := strings.NewReplacer(pairs...)
	env := environment(c)
	for i, v := range env {
		if strings.HasPrefix(v, "GATEPASS_") {
			env[i] = paths.Replace(v)
		}
	}
	if c.Name == injector.AgentContainer {
		proxy, err := startProxy(ctx, map[string]string{
			fmt.Sprintf("%s:%d", gatewayHost, gatewayPort): fmt.Sprintf("%s:%d", s.gateway.Address, s.gateway.Port),
		})
		if err != nil {
			return product.AgentOptions{}, err
		}
		s.atEnd(proxy.Close)
		env = append(env, "HTTPS_PROXY="+proxy.URL())
	}
	return product.AgentOptions{Path: program, Args: c.Args, Env: env}, nil
}

// showReview shows what the gateway noted, and what the API server counted.
func (s *story) showReview(ctx context.Context) error {
	reviews, err := s.tokenReviews(ctx)
	if err != nil {
		return err
	}
	if reviews <= s.reviews {
		return errors.New("the API server has counted no TokenReview")
	}
	s.say("The API server counts %d TokenReview since the agent started. The gateway's audit log:", reviews-s.reviews)
	line, err := auditLine(s.gateway.Logs())
	if err != nil {
		return err
	}
	s.show(line)
	return nil
}
