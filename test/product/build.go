// Package product builds Gatepass's own commands and runs them as processes,
// as an administrator or a kubelet would, for tests and the demo.
package product

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gatepass/gatepass/test/process"
	"github.com/gatepass/gatepass/test/release"
	"github.com/gatepass/gatepass/test/repo"
)

// Commands of the product that this package runs.
const (
	Webhook = "gatepass-webhook"
	Gateway = "gatepass-gateway"
	Agent   = "gatepass-agent"
)

// Product holds built commands and guards the processes that run them.
type Product struct {
	guard *process.Guard
	seen  names
}

// New builds commands, all three if none is named, and keeps copies of its
// own: a later build does not change what this test runs. Close ends it.
func New(ctx context.Context, commands ...string) (*Product, error) {
	if len(commands) == 0 {
		commands = []string{Webhook, Gateway, Agent}
	}
	guard, err := process.NewGuard()
	if err != nil {
		return nil, err
	}
	p := &Product{guard: guard}
	if err := p.build(ctx, commands); err != nil {
		return nil, errors.Join(fmt.Errorf("build the product: %w", err), p.Close())
	}
	return p, nil
}

// Close removes the product's files. Processes have to be stopped before.
func (p *Product) Close() error { return p.guard.Release() }

// Path is the file of a built command.
func (p *Product) Path(command string) string { return filepath.Join(p.guard.Dir(), command) }

// Dir is a temporary folder that Close removes.
func (p *Product) Dir() string { return p.guard.Dir() }

// build compiles into the cache, under a lock that test binaries of other
// packages hold in turn, and copies the result from there.
func (p *Product) build(ctx context.Context, commands []string) error {
	root, err := repo.Root()
	if err != nil {
		return err
	}
	cache, err := repo.Cache()
	if err != nil {
		return err
	}
	bin := filepath.Join(cache, "bin")
	unlock, err := repo.Lock(ctx, bin+".lock", nil)
	if err != nil {
		return err
	}
	defer unlock()
	for _, c := range commands {
		if err := release.Build(ctx, release.Options{Root: root, Programs: []string{"./cmd/" + c}, Dir: bin}); err != nil {
			return err
		}
		if err := copyExecutable(filepath.Join(bin, c), p.Path(c)); err != nil {
			return err
		}
	}
	return nil
}

// BuildTestProgram builds a program of the test module, named by its folder as
// in ./demo/web, and returns its file. It is static, so that it runs in a
// container that holds nothing else.
func (p *Product) BuildTestProgram(ctx context.Context, pkg string) (string, error) {
	root, err := repo.Root()
	if err != nil {
		return "", err
	}
	err = release.Build(ctx, release.Options{Root: root, Module: "test", Programs: []string{pkg}, Dir: p.Dir()})
	return p.Path(filepath.Base(pkg)), err
}

func copyExecutable(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
