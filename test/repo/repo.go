// Package repo finds the places of this checkout that the test bed works in.
package repo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Root returns the checkout's folder, found by walking up from the working
// directory. `go test` and `go run` start in a package's folder, so this
// works for every program of the test module.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	for {
		if isRoot(dir) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the checkout: no folder above the working directory holds go.mod and test/go.mod; run this inside the repository")
		}
		dir = parent
	}
}

func isRoot(dir string) bool {
	for _, f := range []string{"go.mod", filepath.Join("test", "go.mod")} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return false
		}
	}
	return true
}

// Cache returns the folder for everything that is built once and kept:
// GATEPASS_CACHE if it is set, .cache in the checkout otherwise.
func Cache() (string, error) {
	if dir := os.Getenv("GATEPASS_CACHE"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("GATEPASS_CACHE: %w", err)
		}
		return abs, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cache"), nil
}
