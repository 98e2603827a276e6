//go:build e2e

package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/documented"
	"github.com/gatepass/gatepass/test/repo"
)

// restored types what docs/storage.md says, with other folders. The gateways' store is
// as in the backup then.
func restored(t *testing.T, backup, operation, installation string) {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "gatepass.backup")
	if err := os.WriteFile(file, []byte(backup), 0o600); err != nil {
		t.Fatal(err)
	}
	testdata := filepath.Join(root, "test", "e2e", "store", "testdata")
	here := strings.NewReplacer(
		"cat gatepass.backup", "cat "+file,
		"apply -k manifests/operations/restore-volume", "apply -k "+operation,
		// They share files that patch them with the same configuration.
		"kubectl apply -k ../installation", "kubectl kustomize --load-restrictor=LoadRestrictionsNone "+filepath.Join(testdata, installation)+" | kubectl apply -f -",
	)
	for _, command := range documented.Commands(t, "docs/storage.md", "## Restore in a cluster") {
		typed := here.Replace(command)
		out, err := documented.Run(t, shared.Kubeconfig, shared.Binaries(), typed)
		if err != nil {
			t.Fatalf("%s: %v\n%s", typed, err, out)
		}
		t.Logf("%s\n%s", typed, out)
		if strings.Contains(command, " logs ") && !strings.Contains(out, "records were restored") {
			t.Errorf("the log is %q", out)
		}
	}
	if err := shared.RolledOut(t.Context(), bed.System, bed.Gateway.Deployment()); err != nil {
		t.Fatal(err)
	}
}

// checkRestored fails the test unless a secret is as it was at the backup, and sessions
// of before have ended.
func checkRestored(t *testing.T, ns, accessID, value string, ended ...string) {
	t.Helper()
	for _, r := range replicas(t) {
		for _, session := range ended {
			if err := r.validate(t.Context(), session, false); err != nil {
				t.Errorf("a session of before the restore: %v", err)
			}
		}
	}
	application(t, ns, "restored", accessID)
	checkReads(t, ns, "restored", value)
}
