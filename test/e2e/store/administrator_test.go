//go:build e2e

package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/gateway/handover"
	"github.com/gatepass/gatepass/test/bed"
)

const (
	secretName = "gatepass-gateway-administrator"
	// item is a secret, and authConfig what pods log in by.
	item, authConfig = "/demo/password", "managed"
)

// administrator is a pod that somebody types commands in.
type administrator struct {
	ns, accessID, accessKey string
}

// administer reads the credentials from the Secret and logs in with them.
func administer(t *testing.T, ns string) *administrator {
	t.Helper()
	a := &administrator{ns: ns}
	shared.Await(t, "the administrator's credentials", func(ctx context.Context) error {
		s, err := shared.Client.CoreV1().Secrets(bed.System).Get(ctx, secretName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		a.accessID, a.accessKey = string(s.Data[handover.AccessIDKey]), string(s.Data[handover.AccessKeyKey])
		if a.accessID == "" || a.accessKey == "" {
			return errors.New("the Secret is empty")
		}
		return nil
	})
	ca, err := shared.Client.CoreV1().ConfigMaps(bed.System).Get(t.Context(), "gatepass-gateway-ca", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	own := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "own"}, StringData: map[string]string{"ca.crt": ca.Data["ca.crt"], "key": a.accessKey}}
	if _, err := shared.Client.CoreV1().Secrets(ns).Create(t.Context(), own, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	shared.Create(t, bed.Application(ns, "administrator", func(pod *corev1.Pod) {
		pod.Annotations = nil
		pod.Spec.Volumes = []corev1.Volume{
			{Name: "home", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "own", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "own"}}},
		}
		c := &pod.Spec.Containers[0]
		c.VolumeMounts = []corev1.VolumeMount{{Name: "home", MountPath: "/home"}, {Name: "own", MountPath: "/own"}}
		c.Env = []corev1.EnvVar{{Name: "HOME", Value: "/home"}}
	}))
	shared.Running(t, ns, "administrator")
	a.run(t, "configure", "--gateway-url", bed.GatewayURL, "--ca-file", "/own/ca.crt",
		"--access-id", a.accessID, "--access-type", "access_key", "--access-key-file", "/own/key")
	shared.Await(t, "the key of the Secret is the administrator's", func(ctx context.Context) error {
		_, err := gatepass(ctx, a.ns, "administrator", "list-roles")
		return err
	})
	return a
}

// run types a command and returns what it prints.
func (a *administrator) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := gatepass(t.Context(), a.ns, "administrator", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// gatepass runs the command line in a pod.
func gatepass(ctx context.Context, ns, pod string, args ...string) (string, error) {
	out, problem, err := shared.Kubectl(ctx, append([]string{"exec", "-n", ns, pod, "-c", "app", "--", "/bin/gatepass"}, args...)...)
	if err != nil {
		return "", fmt.Errorf("gatepass %s: %s", args[0], problem)
	}
	return strings.TrimSuffix(out, "\n"), nil
}

// manage makes all that pods of the tests' namespaces need to log in and read a
// secret, and returns their access id.
func (a *administrator) manage(t *testing.T, value string) (accessID string) {
	t.Helper()
	var made struct {
		AccessID   string `json:"access_id"`
		PrivateKey string `json:"prv_key"`
	}
	out := a.run(t, "auth-method", "create", "k8s", "-n", "apps", "--bound-namespaces", "e2e-*", "--audience", "gatepass", "--json")
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{
			"gateway-create-k8s-auth-config", "--name", authConfig, "--gateway-url", bed.GatewayURL,
			"--access-id", made.AccessID, "--signing-key", made.PrivateKey, "--use-gw-service-account",
		},
		{"create-secret", "-n", item, "--value", value},
		{"create-role", "-n", "reader"},
		{"set-role-rule", "--role-name", "reader", "--path", "/demo/*", "--capability", "read"},
		{"assoc-role-am", "--role-name", "reader", "--am-name", "apps"},
	} {
		a.run(t, command...)
	}
	return made.AccessID
}

// application starts an annotated pod, waits for its session and returns it.
func application(t *testing.T, ns, name, accessID string) (session string) {
	t.Helper()
	pod := shared.Create(t, bed.Application(ns, name, bed.Annotate("access-id", accessID), bed.Annotate("auth-config", authConfig)))
	shared.Running(t, ns, name)
	r := shared.Reported(t, ns, name, "app")
	bed.CheckSession(t, pod, r)
	return r.Session
}

// checkReads fails the test unless a pod reads the secret with what it finds beside
// its session.
func checkReads(t *testing.T, ns, pod, value string) {
	t.Helper()
	shared.Await(t, "pod "+pod+" reads its secret", func(ctx context.Context) error {
		got, err := gatepass(ctx, ns, pod, "get-secret-value", "-n", item)
		if err == nil && got != value {
			err = fmt.Errorf("it reads %q", got)
		}
		return err
	})
}
