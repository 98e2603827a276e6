package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KubectlError is a kubectl that ended with another code than 0.
type KubectlError struct {
	Args     []string
	ExitCode int
	Stderr   string
}

// Error names the command and what kubectl said.
func (e *KubectlError) Error() string {
	return fmt.Sprintf("kubectl %s: exit code %d: %s", strings.Join(e.Args, " "), e.ExitCode, strings.TrimSpace(e.Stderr))
}

// Binaries is the folder of the cluster's programs, kubectl among them.
func (c *Cluster) Binaries() string { return filepath.Dir(c.kubectl) }

// Kubectl runs kubectl as administrator. A failure of kubectl itself is a
// *KubectlError.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	return c.KubectlInput(ctx, "", args...)
}

// KubectlInput is Kubectl with a text on standard input, for -f -.
func (c *Cluster) KubectlInput(ctx context.Context, input string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, c.kubectl, args...)
	// HOME keeps kubectl's discovery cache out of the user's own, where the
	// next API server on the same port would find it.
	cmd.Env = []string{"KUBECONFIG=" + c.Kubeconfig, "HOME=" + c.guard.Dir()}
	cmd.Stdin = strings.NewReader(input)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = &KubectlError{Args: args, ExitCode: exit.ExitCode(), Stderr: errOut.String()}
	}
	return out.String(), errOut.String(), err
}

// CreateNamespace makes a namespace with a unique name that begins with prefix,
// and in it the ServiceAccount default, which in a whole cluster the
// controller manager makes. Labels may be nil.
func (c *Cluster) CreateNamespace(ctx context.Context, prefix string, labels map[string]string) (string, error) {
	ns, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-", Labels: labels},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("create namespace %s-*: %w", prefix, err)
	}
	return ns.Name, c.EnsureServiceAccount(ctx, ns.Name, "default")
}

// EnsureServiceAccount creates a ServiceAccount if it does not exist.
func (c *Cluster) EnsureServiceAccount(ctx context.Context, namespace, name string) error {
	_, err := c.Client.CoreV1().ServiceAccounts(namespace).Create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create ServiceAccount %s/%s: %w", namespace, name, err)
	}
	return nil
}

// TokenRequest says which token PodToken asks for.
type TokenRequest struct {
	Namespace      string
	ServiceAccount string
	// Pod is the name of an existing pod. Empty means a token that is bound to
	// no pod, which a kubelet would never project.
	Pod string
	// Audience empty means the API server's own.
	Audience string
	// Seconds of validity; 600 at least. 0 means the API server's default.
	Seconds int64
}

// PodToken returns the token that a kubelet would project into the pod.
func (c *Cluster) PodToken(ctx context.Context, r TokenRequest) (string, error) {
	request := &authenticationv1.TokenRequest{}
	if r.Audience != "" {
		request.Spec.Audiences = []string{r.Audience}
	}
	if r.Seconds != 0 {
		request.Spec.ExpirationSeconds = &r.Seconds
	}
	if r.Pod != "" {
		pod, err := c.Client.CoreV1().Pods(r.Namespace).Get(ctx, r.Pod, metav1.GetOptions{})
		if err != nil {
			return "", fmt.Errorf("mint a token for pod %s/%s: %w", r.Namespace, r.Pod, err)
		}
		// The kubelet names the UID too, so that a token never outlives its
		// pod into another of the same name.
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
		}
	}
	got, err := c.Client.CoreV1().ServiceAccounts(r.Namespace).CreateToken(ctx, r.ServiceAccount, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("mint a token for %s/%s: %w", r.Namespace, r.ServiceAccount, err)
	}
	return got.Status.Token, nil
}

// Version is what the API server says it is, for example v1.37.2.
func (c *Cluster) Version() (string, error) {
	v, err := c.Client.Discovery().ServerVersion()
	if err != nil {
		return "", fmt.Errorf("ask the API server's version: %w", err)
	}
	return v.GitVersion, nil
}
