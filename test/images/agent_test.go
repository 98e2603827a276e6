package images_test

import (
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/images"
)

// version of the images that these tests build.
const version = "v9.8.7-test"

// agentLimit is the most that the agent's image may take, in bytes, unpacked
// and as it is transferred.
const agentLimit = 8_000_000

// copyOfAgent makes another checkout, with what the agent is built from.
func copyOfAgent(t *testing.T) string {
	t.Helper()
	root, to := checkout(t), t.TempDir()
	for _, dir := range []string{"agent", "cmd/gatepass-agent"} {
		if err := os.CopyFS(filepath.Join(to, dir), os.DirFS(filepath.Join(root, dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum", "Makefile"} {
		content, err := os.ReadFile(filepath.Join(root, file))
		if err = errors.Join(err, os.WriteFile(filepath.Join(to, file), content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestTheAgentsImage(t *testing.T) {
	agent := product(t, "agent")
	built, err := images.Build(t.Context(), images.Options{Image: agent, Root: checkout(t), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	named, index := open(t, built)
	byPlatform := imagesOf(t, index)
	annotations := map[string]string{
		"org.opencontainers.image.title":   "Gatepass agent",
		"org.opencontainers.image.version": version,
		"org.opencontainers.image.source":  "https://github.com/gatepass/gatepass",
	}

	t.Run("is the same bit for bit from another folder and with a developer's settings", func(t *testing.T) {
		for name, value := range map[string]string{
			"GOAMD64": "v3", "GOARM64": "v9.0", "GOFLAGS": "-tags=other", "CGO_ENABLED": "1", "MAKEFLAGS": "n",
		} {
			t.Setenv(name, value)
		}
		again, err := images.Build(t.Context(), images.Options{Image: agent, Root: copyOfAgent(t), Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if again.Digest != built.Digest || digest(t, again.File) != digest(t, built.File) {
			t.Errorf("got %s, then %s", built.Digest, again.Digest)
		}
	})
	t.Run("is imported under the name that the manifests use", func(t *testing.T) {
		if got := named.Annotations["io.containerd.image.name"]; got != agent.Ref || built.Ref != agent.Ref {
			t.Errorf("got %s, and %s in the archive", built.Ref, got)
		}
		if got := named.Annotations["org.opencontainers.image.ref.name"]; !strings.HasSuffix(agent.Ref, ":"+got) || got == "" {
			t.Errorf("the tag is %q", got)
		}
		if named.Digest.String() != built.Digest {
			t.Errorf("the digest is %s and was said to be %s", named.Digest, built.Digest)
		}
	})
	t.Run("is for both platforms", func(t *testing.T) {
		if len(byPlatform) != 2 || len(built.Sizes) != 2 {
			t.Fatalf("got %d images and %d sizes", len(byPlatform), len(built.Sizes))
		}
		for _, p := range images.Platforms() {
			got, is := byPlatform[p]
			if !is || got.config.OS != p.OS || got.config.Architecture != p.Arch {
				t.Errorf("%s: got %+v", p, got.config)
			}
		}
	})
	t.Run("takes at most 8 MB", func(t *testing.T) {
		for _, s := range built.Sizes {
			t.Logf("%s: %d bytes, unpacked %d", s.Platform, s.Compressed, s.Unpacked)
			if s.Compressed > agentLimit || s.Unpacked > agentLimit || s.Compressed == 0 || s.Unpacked < s.Compressed {
				t.Errorf("%s: %d bytes, unpacked %d; at most %d are allowed", s.Platform, s.Compressed, s.Unpacked, agentLimit)
			}
			if size := byPlatform[s.Platform].manifest.Layers[0].Size; size != s.Compressed {
				t.Errorf("%s: the layer has %d bytes and was said to have %d", s.Platform, size, s.Compressed)
			}
		}
	})
	for platform, got := range byPlatform {
		t.Run("holds nothing but the static program of "+platform.String(), func(t *testing.T) {
			if files := list(got.files); files != "---x--x--x gatepass-agent" {
				t.Fatalf("got:\n%s", files)
			}
			checkStatic(t, got.files[0].content, platform)
		})
		t.Run("runs as a user without rights on "+platform.String(), func(t *testing.T) {
			if got.config.Config.User != "65532:65532" || !slices.Equal(got.config.Config.Entrypoint, []string{"/gatepass-agent"}) || got.config.Config.Cmd != nil {
				t.Errorf("got %+v", got.config.Config)
			}
		})
		t.Run("tells what it is on "+platform.String(), func(t *testing.T) {
			for name, want := range annotations {
				if label, annotation := got.config.Config.Labels[name], got.manifest.Annotations[name]; label != want || annotation != want {
					t.Errorf("%s: the label is %q, the annotation is %q", name, label, annotation)
				}
			}
		})
		t.Run("tells neither when nor by whom it was made on "+platform.String(), func(t *testing.T) {
			checkTimeless(t, got)
		})
	}
	t.Run("has a program that says its version", func(t *testing.T) {
		program := filepath.Join(t.TempDir(), "agent")
		native := byPlatform[images.Platform{OS: "linux", Arch: runtime.GOARCH}]
		if err := os.WriteFile(program, []byte(native.files[0].content), 0o700); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), program, "--version").CombinedOutput(); err != nil || string(out) != "gatepass-agent "+version+"\n" {
			t.Errorf("got %q, %v", out, err)
		}
	})
}

func digest(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))
}

// checkStatic holds a program to its platform, and to need no loader and no libraries.
func checkStatic(t *testing.T, program string, p images.Platform) {
	t.Helper()
	file, err := elf.NewFile(strings.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[p.Arch]
	if file.Machine != want {
		t.Errorf("it is for %s; want %s", file.Machine, want)
	}
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("it is not static: it has %s", part.Type)
		}
	}
}

func checkTimeless(t *testing.T, got image) {
	t.Helper()
	epoch := time.Unix(0, 0)
	if !got.config.Created.Equal(epoch) || got.config.Author != "" || got.config.Container != "" {
		t.Errorf("got %+v", got.config)
	}
	for _, h := range got.config.History {
		if h.Author != "" || !h.Created.Equal(epoch) {
			t.Errorf("history: got %+v", h)
		}
	}
	for _, f := range got.files {
		if !f.ModTime.Equal(epoch) || f.Uid != 0 || f.Gid != 0 || f.Uname != "" || f.Gname != "" {
			t.Errorf("%s: got %+v", f.Name, f.Header)
		}
	}
}
