//go:build e2e

package store_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatepass/gatepass/test/bed"
)

// known is how soon every gateway knows of a revocation.
const known = time.Second

func TestGatewaysOnAnEtcd(t *testing.T) {
	ns := shared.Namespace(t, nil)
	a := administer(t, ns)
	first := replicas(t)
	if len(first) != 2 {
		t.Fatalf("%d gateways are ready", len(first))
	}
	// They began at the same moment, and found everything empty.
	for _, r := range first {
		if status, _, err := r.post(t.Context(), "/auth", "access-type", "access_key", "access-id", a.accessID, "access-key", a.accessKey); err != nil || status != http.StatusOK {
			t.Errorf("%s does not let the administrator in: %d, %v", r.name, status, err)
		}
		if log := shared.Logs(t, bed.System, r.name, string(bed.Gateway)); strings.Contains(log, a.accessKey) {
			t.Errorf("%s has logged the administrator's key", r.name)
		}
	}
	accessID := a.manage(t, "one")
	good, revoked := application(t, ns, "good", accessID), application(t, ns, "revoked", accessID)
	checkReads(t, ns, "good", "one")

	for _, r := range first {
		if err := r.validate(t.Context(), revoked, true); err != nil {
			t.Error(err)
		}
	}
	first[0].revoke(t, revoked)
	began := time.Now()
	shared.Await(t, "the other gateway knows", func(ctx context.Context) error { return first[1].validate(ctx, revoked, false) })
	if took := time.Since(began); took > known {
		t.Errorf("the other gateway knew of the revocation %s later", took)
	}
	checkKept(t, good, revoked)

	lose(t, first[0], first[1], good)
	checkKept(t, good, revoked)

	backup := backUp(t, "--etcd-endpoints", etcdURL, "--etcd-ca-file", "/etc/gatepass/etcd/ca.crt",
		"--etcd-cert-file", "/etc/gatepass/etcd/tls.crt", "--etcd-key-file", "/etc/gatepass/etcd/tls.key")

	before := kubectl(t, "", "get", "secret", "-n", bed.System, secretName, "-o", "jsonpath={.data}")
	restart(t)
	checkKept(t, good, revoked)
	checkReads(t, ns, "good", "one")
	a.run(t, "update-secret-val", "-n", item, "--value", "two")
	checkReads(t, ns, "good", "two")
	if after := kubectl(t, "", "get", "secret", "-n", bed.System, secretName, "-o", "jsonpath={.data}"); after != before {
		t.Error("the administrator's credentials are others")
	}

	restored(t, backup, filepath.Join("test", "e2e", "store", "testdata", "restore-etcd"), "etcd")
	checkRestored(t, ns, accessID, "one", good, revoked)
}

// lose has a gateway's pod die at once, and asks the other one until there are two
// again.
func lose(t *testing.T, dies, stays replica, session string) {
	t.Helper()
	if err := shared.Client.CoreV1().Pods(bed.System).Delete(t.Context(), dies.name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
		t.Fatal(err)
	}
	asked := 0
	shared.Await(t, "there are two gateways again", func(ctx context.Context) error {
		if err := stays.validate(ctx, session, true); err != nil {
			t.Errorf("while the other gateway is away: %v", err)
		}
		asked++
		for _, r := range ready(ctx, t) {
			if r.name != stays.name {
				return nil
			}
		}
		return errors.New("there is one")
	})
	if asked < 2 {
		t.Error("the pod was replaced before anybody could ask")
	}
}
