package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/workload"
	"github.com/gatepass/gatepass/test/cluster"
)

const podNamespace = "my-namespace-a"

// createPod has the annotated pod admitted, and shows what that did to it.
func (s *story) createPod(ctx context.Context) error {
	manifest, err := config.ReadFile("config/pod.yaml")
	if err != nil {
		return err
	}
	s.say("A Deployment's ReplicaSet would create this pod. The annotation is all that its team wrote for us:")
	s.show(string(manifest))
	// The same pod without its annotations passes the API server without us.
	// What is left of a difference is the webhook's work.
	plain, err := s.plainPod(ctx, manifest)
	if err != nil {
		return err
	}
	if s.pod, err = s.admit(ctx); err != nil {
		return err
	}
	plain.Annotations = map[string]string{"gatepass.dev/inject": "true"}
	plain.Name = s.pod.Name
	before, err := podYAML(plain)
	if err != nil {
		return err
	}
	after, err := podYAML(s.pod)
	if err != nil {
		return err
	}
	// The first line of the library's diff repeats the next two.
	_, changes, _ := bytes.Cut(diff.Diff("pod as written", before, "pod as admitted", after), []byte("\n"))
	s.say("kubectl create: pod %s/%s is admitted, with these additions by the webhook.", podNamespace, s.pod.Name)
	s.say("(The namespace enforces the restricted Pod Security Standard; they fulfil it.)")
	s.diff(strings.TrimRight(string(changes), " \n"))
	return checkInjected(s.pod)
}

func checkInjected(pod *corev1.Pod) error {
	if len(pod.Spec.InitContainers) != 1 || pod.Spec.InitContainers[0].Name != injector.AgentContainer {
		return fmt.Errorf("pod %s has no init container %s", pod.Name, injector.AgentContainer)
	}
	return nil
}

// admit creates the demo's pod, or tries to.
func (s *story) admit(ctx context.Context, flags ...string) (*corev1.Pod, error) {
	manifest, err := config.ReadFile("config/pod.yaml")
	if err != nil {
		return nil, err
	}
	return s.create(ctx, string(manifest), flags...)
}

// create is kubectl create; it returns the pod as the API server stored it.
func (s *story) create(ctx context.Context, manifest string, flags ...string) (*corev1.Pod, error) {
	args := append([]string{"create", "--namespace", podNamespace, "-f", "-", "-o", "yaml"}, flags...)
	out, warnings, err := s.cluster.KubectlInput(ctx, manifest, args...)
	if err != nil {
		return nil, err
	}
	if warnings != "" {
		return nil, fmt.Errorf("kubectl create warned: %s", warnings)
	}
	var pod corev1.Pod
	if err := yaml.Unmarshal([]byte(out), &pod); err != nil {
		return nil, fmt.Errorf("read kubectl's answer: %w", err)
	}
	return &pod, nil
}

func (s *story) plainPod(ctx context.Context, manifest []byte) (*corev1.Pod, error) {
	var pod corev1.Pod
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil, err
	}
	pod.Annotations = nil
	text, err := yaml.Marshal(pod)
	if err != nil {
		return nil, err
	}
	return s.create(ctx, string(text), "--dry-run=server")
}

// podYAML leaves out what differs between any two pods, and all but the
// beginning of certificates.
func podYAML(pod *corev1.Pod) ([]byte, error) {
	p := pod.DeepCopy()
	p.UID, p.ResourceVersion, p.Generation, p.ManagedFields = "", "", 0, nil
	p.CreationTimestamp.Reset()
	p.Status = corev1.PodStatus{}
	for i := range p.Spec.InitContainers {
		for j := range p.Spec.InitContainers[i].Env {
			e := &p.Spec.InitContainers[i].Env[j]
			e.Value = shortPEM(e.Value)
		}
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("write pod %s: %w", p.Name, err)
	}
	text, err := workload.YAML(raw)
	if err != nil {
		return nil, fmt.Errorf("write pod %s: %w", p.Name, err)
	}
	return bytes.ReplaceAll(text, []byte("status: {}\n"), nil), nil
}

// shortPEM keeps a certificate from filling the screen.
func shortPEM(text string) string {
	begin, _, found := strings.Cut(text, "\n")
	if !found || !strings.HasPrefix(begin, "-----BEGIN CERTIFICATE") {
		return text
	}
	return fmt.Sprintf("%s … (%d bytes)", begin, len(text))
}

// misspelt is an annotation that a person got wrong.
const misspelt = "gatepass.dev/injekt"

// refusePod shows that a mistake is refused, with the way to mend it.
func (s *story) refusePod(ctx context.Context) error {
	manifest, err := config.ReadFile("config/pod.yaml")
	if err != nil {
		return err
	}
	wrong := strings.ReplaceAll(string(manifest), "gatepass.dev/inject:", misspelt+":")
	s.say("The same pod with the annotation %s: \"true\". kubectl create says:", misspelt)
	_, err = s.create(ctx, wrong)
	refusal, ok := errors.AsType[*cluster.KubectlError](err)
	if !ok {
		return fmt.Errorf("a pod with annotation %s was not refused (%w)", misspelt, err)
	}
	s.show(refusal.Stderr)
	if !regexp.MustCompile(`gatepass\.dev/inject\b`).MatchString(refusal.Stderr) {
		return errors.New("the message does not name the right annotation")
	}
	left, _, err := s.cluster.Kubectl(ctx, "get", "pods", "--namespace", podNamespace, "-o", "name")
	if err != nil {
		return err
	}
	if strings.TrimSpace(left) != "pod/"+s.pod.Name {
		return fmt.Errorf("expected only pod %s in the namespace; there are: %s", s.pod.Name, left)
	}
	return nil
}
