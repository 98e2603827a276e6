//go:build e2e

package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/machine"
	"github.com/gatepass/gatepass/test/node"
	"github.com/gatepass/gatepass/test/repo"
)

// volume is a disk of the node's, which belongs to root as those of other kinds do
// before the kubelet gives them to a pod's group.
const volume = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: gateway}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  local: {path: %s}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions:
        - {key: kubernetes.io/hostname, operator: In, values: [%s]}
`

// TestAGatewayWithAVolume changes the installation, so it comes after the other.
func TestAGatewayWithAVolume(t *testing.T) {
	disk := filepath.Join(machine.Dir(), "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	kubectl(t, fmt.Sprintf(volume, disk, node.Name), "apply", "-f", "-")
	// The other store's are not wanted here.
	kubectl(t, "", "patch", "secret", secretName, "-n", bed.System, "--type=merge", "-p", `{"data":null}`)
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.Apply(t.Context(), filepath.Join(root, "test", "e2e", "store", "testdata", "volume")); err != nil {
		t.Fatal(err)
	}
	ns := shared.Namespace(t, nil)
	a := administer(t, ns)
	accessID := a.manage(t, "one")
	good, revoked := application(t, ns, "good", accessID), application(t, ns, "revoked", accessID)
	checkReads(t, ns, "good", "one")
	alone(t).revoke(t, revoked)

	began := time.Now()
	restart(t)
	t.Logf("the gateway was replaced within %s", time.Since(began).Round(100*time.Millisecond))
	checkKept(t, good, revoked)
	checkReads(t, ns, "good", "one")
	a.run(t, "list-roles")

	rotate(t, ns, a)
	remove(t, ns)
	checkKept(t, good, revoked)

	backup := backUp(t, "--data-dir", "/var/lib/gatepass")
	a.run(t, "update-secret-val", "-n", item, "--value", "three")
	restored(t, backup, filepath.Join(root, "manifests", "operations", "restore-volume"), "volume")
	checkRestored(t, ns, accessID, "two", good, revoked)
	maintain(t, a)
}

// alone is the only gateway.
func alone(t *testing.T) replica {
	t.Helper()
	all := replicas(t)
	if len(all) != 1 {
		t.Fatalf("%d gateways are ready", len(all))
	}
	return all[0]
}

// rotate adds a key that seals from now on, and waits until everything is sealed
// with it, by a gateway that serves meanwhile.
func rotate(t *testing.T, ns string, a *administrator) {
	t.Helper()
	gateway := alone(t)
	if _, err := seal.AddKey(sealKeyFile(), time.Now()); err != nil {
		t.Fatal(err)
	}
	replaceSealKey(t)
	shared.Await(t, "everything is sealed with the new key", func(ctx context.Context) error {
		if got, err := gatepass(ctx, ns, "good", "get-secret-value", "-n", item); err != nil || got != "one" {
			t.Errorf("meanwhile the secret is %q, %v", got, err)
		}
		log, err := shared.Client.CoreV1().Pods(bed.System).GetLogs(gateway.name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err == nil && !strings.Contains(string(log), "values were sealed under the new key") {
			err = errors.New("its log does not say so")
		}
		return err
	})
	a.run(t, "update-secret-val", "-n", item, "--value", "two")
	if now := alone(t); now.name != gateway.name {
		t.Errorf("the gateway was replaced by %s meanwhile", now.name)
	}
}

// remove takes the old key away for good: what is read by a gateway that never had
// it is sealed with the new one.
func remove(t *testing.T, ns string) {
	t.Helper()
	content, err := os.ReadFile(sealKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(content), "\n"), "\n")
	if err := os.WriteFile(sealKeyFile(), []byte(lines[len(lines)-1]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	replaceSealKey(t)
	old := alone(t)
	if err := shared.Client.CoreV1().Pods(bed.System).Delete(t.Context(), old.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	shared.Await(t, "another gateway", func(ctx context.Context) error {
		for _, r := range ready(ctx, t) {
			if r.name != old.name {
				return nil
			}
		}
		return errors.New("there is none")
	})
	checkReads(t, ns, "good", "two")
}

// within runs the gateway's program in a gateway's pod.
func within(t *testing.T, args ...string) string {
	t.Helper()
	return kubectl(t, "", append([]string{"exec", "-n", bed.System, "deployment/" + bed.Gateway.Deployment(), "--", "/gatepass-gateway"}, args...)...)
}

// backUp has a backup made within a pod, as docs/operations.md says, and looks at it
// outside.
func backUp(t *testing.T, from ...string) (text string) {
	t.Helper()
	text = within(t, append(append([]string{"backup"}, from...), "--out", "-")...)
	if info, err := store.CheckBackup(strings.NewReader(text)); err != nil || info.Items < 5 {
		t.Errorf("the backup has %d records, %v", info.Items, err)
	}
	return text
}

// maintain does what is for people who can enter the gateway's pod, while it serves.
func maintain(t *testing.T, a *administrator) {
	t.Helper()
	told := regexp.MustCompile(`Access ID: (\S+)\nAccess Key: (\S+)\n`).FindStringSubmatch(within(t, "reset-admin", "--data-dir", "/var/lib/gatepass"))
	if told == nil {
		t.Fatal("no new credentials were told")
	}
	gateway := alone(t)
	for _, row := range []struct {
		id, key string
		want    int
	}{{told[1], told[2], http.StatusOK}, {a.accessID, a.accessKey, http.StatusUnauthorized}} {
		shared.Await(t, "the gateway knows the new administrator only", func(ctx context.Context) error {
			status, _, err := gateway.post(ctx, "/auth", "access-type", "access_key", "access-id", row.id, "access-key", row.key)
			if err == nil && status != row.want {
				err = fmt.Errorf("answer %d", status)
			}
			return err
		})
	}
}

// replaceSealKey hands the administrator's file to the cluster.
func replaceSealKey(t *testing.T) {
	t.Helper()
	made := kubectl(t, "", "create", "secret", "generic", "gatepass-gateway-seal-key", "-n", bed.System,
		"--from-file="+sealKeyFile(), "--dry-run=client", "-o", "yaml")
	kubectl(t, made, "replace", "-f", "-")
}
