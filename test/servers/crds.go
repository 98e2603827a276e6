package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/gatepass/gatepass/test/repo"
)

const (
	certManagerFolder = "certmanager"
	certManagerModule = "github.com/cert-manager/cert-manager"
)

// CRDs returns the folder of the CustomResourceDefinitions that belong to the
// version of cert-manager that Ensure builds. It downloads the module if it is
// not there yet.
func CRDs(ctx context.Context) (string, error) {
	root, err := repo.Root()
	if err != nil {
		return "", err
	}
	b := &builder{source: filepath.Join(root, "test", "servers")}
	out, err := b.goOutput(ctx, certManagerFolder, "mod", "download", "-json", certManagerModule)
	if err != nil {
		return "", fmt.Errorf("find cert-manager's CustomResourceDefinitions: %w", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &module); err != nil {
		return "", fmt.Errorf("find cert-manager's CustomResourceDefinitions: %w", err)
	}
	return filepath.Join(module.Dir, "deploy", "crds"), nil
}
