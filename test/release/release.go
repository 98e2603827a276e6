// Package release builds programs with the flags of a release: what is tested
// is what is shipped. The flags' one home is the Makefile's target build,
// which this package runs.
package release

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Options say what to build.
type Options struct {
	// Root is the checkout.
	Root string
	// Module is the folder of the programs' module in it: empty for the
	// product, test for the test bed.
	Module string
	// Programs are main packages of the module, as in ./cmd/gatepass-agent.
	Programs []string
	// Version is what the programs say; devel if it is empty.
	Version string
	// OS and Arch are Go's names of the target; this machine's if empty.
	OS, Arch string
	// Dir gets each program, under the name of its package's folder.
	Dir string
}

// Build builds the programs.
func Build(ctx context.Context, o Options) error {
	if o.Version == "" {
		o.Version = "devel"
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("build %v: %w", o.Programs, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build %v: %w", o.Programs, err)
	}
	for _, program := range o.Programs {
		cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "-f", filepath.Join(o.Root, "Makefile"), "build",
			"VERSION="+o.Version, "PROGRAMS="+program, "BIN="+dir+"/")
		cmd.Dir = filepath.Join(o.Root, o.Module)
		cmd.Env = environment(o)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s for a release: %w\n%s", program, err, out)
		}
	}
	return nil
}

// environment keeps a developer's settings, and those of a make that runs this
// program, from changing what is built.
func environment(o Options) []string {
	return append(os.Environ(),
		"GOOS="+o.OS, "GOARCH="+o.Arch, "GOAMD64=", "GOARM64=", "GOEXPERIMENT=", "GOFLAGS=", "GOWORK=off",
		"MAKEFLAGS=", "MFLAGS=")
}
