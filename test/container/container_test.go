//go:build linux

package container_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/container"
)

func TestMain(m *testing.M) {
	if err := container.Init(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(125)
	}
	os.Exit(m.Run())
}

// buildInside builds the program that reports what it sees. It is static: the
// container holds no libraries.
func buildInside(t *testing.T, to string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", to, "./testdata/inside")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestAContainerSeesWhatItsSpecSays(t *testing.T) {
	kind := container.Available()
	if kind == container.None {
		t.Fatal("neither root nor user namespaces are to be had; allow one of them (sysctl kernel.unprivileged_userns_clone)")
	}
	host := t.TempDir()
	folder := func(name string, mode os.FileMode) string {
		path := filepath.Join(host, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Chmod(host, 0o755); err != nil {
		t.Fatal(err)
	}
	volume := folder("volume", 0o777)
	given := filepath.Join(host, "given")
	if err := os.WriteFile(given, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(host, "program")
	buildInside(t, program)
	spec := container.Spec{
		Root: folder("root", 0o755),
		Mounts: []container.Mount{
			{Source: program, Target: "/program", ReadOnly: true},
			{Source: given, Target: "/given", ReadOnly: true},
			{Source: folder("fixed", 0o777), Target: "/fixed", ReadOnly: true},
			{Source: volume, Target: "/volume"},
		},
		UID: 10001, GID: 10002, Path: "/program", Env: []string{"ONLY=this"},
	}
	path, args, attr, err := spec.Command(kind)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"given: hello <nil>\n",
		"write read-only mount: true\n",
		"write root: true\n",
		"write volume: <nil>\n",
		"user: 10001 10002\n",
		"environment: [ONLY=this]\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "usr") {
		t.Errorf("the host's root shows:\n%s", out)
	}
	content, err := os.ReadFile(filepath.Join(volume, "new"))
	if err != nil || string(content) != "written inside" {
		t.Errorf("on the host the volume holds %q, %v", content, err)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), host) {
		t.Errorf("a mount is left on the host (%v)", err)
	}
}
