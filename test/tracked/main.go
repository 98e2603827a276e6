// Command tracked fails if git tracks a binary file. `make lint` runs it: a
// built program once lay in this repository for months, where nothing that
// reads sources looked at it.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/gatepass/gatepass/test/repo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracked:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	root, err := repo.Root()
	if err != nil {
		return err
	}
	found, err := binaries(ctx, root)
	if err != nil {
		return fmt.Errorf("look for tracked binaries: %w", err)
	}
	for _, path := range found {
		_, _ = fmt.Fprintf(out, "%s is a binary under version control; remove it with git rm\n", path)
	}
	if len(found) > 0 {
		return fmt.Errorf("%d tracked binaries", len(found))
	}
	return nil
}

// binaries returns the files that git tracks in a checkout and that are
// binary, with paths from its root.
func binaries(ctx context.Context, root string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z")
	cmd.Dir = root
	list, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var found []string
	tracked := 0
	for name := range bytes.SplitSeq(bytes.TrimRight(list, "\x00"), []byte{0}) {
		if len(name) == 0 {
			continue
		}
		tracked++
		is, err := binary(filepath.Join(root, string(name)))
		if errors.Is(err, os.ErrNotExist) { // removed, but not committed yet
			continue
		}
		if err != nil {
			return nil, err
		}
		if is {
			found = append(found, string(name))
		}
	}
	if tracked == 0 {
		return nil, errors.New("git tracks no file here")
	}
	return found, nil
}

// head is how much of a file git itself looks at to tell text from binary:
// FIRST_FEW_BYTES in git's xdiff-interface.c.
const head = 8000

// binary reports whether a file is binary as git judges it: there is a zero
// byte near its start. A link is what it points to, which is no content.
func binary(path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(f, head))
	return bytes.IndexByte(data, 0) >= 0, err
}
