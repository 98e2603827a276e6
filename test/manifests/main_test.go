package manifests_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gatepass/gatepass/test/cluster"
	"github.com/gatepass/gatepass/test/manifests"
)

var shared *cluster.Cluster

func TestMain(m *testing.M) { os.Exit(cluster.Main(m, cluster.Options{}, &shared)) }

// render returns a kustomization as YAML and as objects.
func render(t *testing.T, kustomization string) (string, []*unstructured.Unstructured) {
	t.Helper()
	rendered, err := manifests.Render(t.Context(), shared, kustomization)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := manifests.Objects(rendered)
	if err != nil {
		t.Fatal(err)
	}
	return rendered, objects
}

// kubectl runs with an input and fails the test if kubectl does.
func kubectl(t *testing.T, input string, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := shared.KubectlInput(t.Context(), input, args...)
	if err != nil {
		t.Fatal(err)
	}
	return stdout, stderr
}

// install applies rendered manifests and takes everything away afterwards but
// the namespace, which can't vanish while nothing collects its contents.
// Tests that install don't run in parallel: names are fixed.
func install(t *testing.T, rendered string, flags ...string) {
	t.Helper()
	t.Cleanup(func() {
		documents := slices.DeleteFunc(strings.Split(rendered, "\n---\n"), func(document string) bool {
			return strings.Contains("\n"+document, "\nkind: Namespace\n")
		})
		// The test's own context is done by now.
		ctx := context.WithoutCancel(t.Context())
		if _, _, err := shared.KubectlInput(ctx, strings.Join(documents, "\n---\n"),
			"delete", "--ignore-not-found", "--wait=false", "-f", "-"); err != nil {
			t.Error(err)
		}
		if strings.Contains(rendered, "\nkind: PersistentVolumeClaim\n") {
			// Nobody is here who would see that no pod uses it.
			kubectlCleanup(t, "patch", "persistentvolumeclaim", "-n", manifests.Namespace, "gatepass-gateway-data",
				"--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
		}
	})
	kubectl(t, rendered, append([]string{"apply", "-f", "-"}, flags...)...)
}

var dryRun = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}

// kubectlCleanup is kubectl for the time after a test, whose context is done.
func kubectlCleanup(t *testing.T, args ...string) {
	t.Helper()
	if _, _, err := shared.Kubectl(context.WithoutCancel(t.Context()), args...); err != nil {
		t.Error(err)
	}
}

func certificatePEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// podName makes a name from a test's.
func podName(t *testing.T) string {
	t.Helper()
	return strings.Trim(notInNames.ReplaceAllString(strings.ToLower(path.Base(t.Name())), "-"), "-")
}

var notInNames = regexp.MustCompile("[^a-z0-9]+")

// ensureOwnNamespace applies the manifests' namespace, with an account for pods.
func ensureOwnNamespace(t *testing.T) {
	t.Helper()
	rendered, _ := render(t, manifests.Base)
	for document := range strings.SplitSeq(rendered, "\n---\n") {
		if strings.Contains("\n"+document, "\nkind: Namespace\n") {
			kubectl(t, document, "apply", "-f", "-")
		}
	}
	if err := shared.EnsureServiceAccount(t.Context(), manifests.Namespace, "default"); err != nil {
		t.Fatal(err)
	}
}

// restrict makes a pod acceptable in our namespace.
func restrict(pod *corev1.Pod) {
	yes, no := true, false
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		RunAsNonRoot:             &yes,
		AllowPrivilegeEscalation: &no,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}
