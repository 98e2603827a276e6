// Package documented runs the commands that documents tell people to type.
package documented

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/repo"
)

// Commands returns the commands of a section, which begins with a line. In a document a
// command follows "$ ", and "> " or an indented line continues it.
func Commands(t testing.TB, file, heading string) []string {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut("\n"+string(text), "\n"+heading)
	if !ok {
		t.Fatalf("%s has no section that begins with %q", file, heading)
	}
	if end := strings.Index(section, "\n#"); end >= 0 {
		section = section[:end]
	}
	var commands []string
	for i, block := range strings.Split(section, "```") {
		if i%2 == 0 || !strings.HasPrefix(block, "console\n") {
			continue
		}
		for _, line := range strings.Split(strings.TrimPrefix(block, "console\n"), "\n") {
			switch command, begins := strings.CutPrefix(line, "$ "); {
			case begins:
				commands = append(commands, command)
			case strings.HasPrefix(line, "    ") && len(commands) > 0:
				commands[len(commands)-1] += "\n" + line
			}
		}
	}
	if len(commands) == 0 {
		t.Fatalf("%s: section %q has no commands", file, heading)
	}
	return commands
}

// Run types a command in the repository's root, in a shell that finds programs in a
// folder first, and returns what it prints.
func Run(t testing.TB, kubeconfig, binaries, command string) (string, error) {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", command)
	cmd.Dir = root
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + t.TempDir(), "PATH=" + binaries + string(os.PathListSeparator) + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return string(out), err
}
