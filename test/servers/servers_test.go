package servers

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEnsureRefuses(t *testing.T) {
	for _, row := range []struct {
		name    string
		options Options
		assets  string
		want    string
	}{
		{"a version that nobody pinned, naming those that exist", Options{Kubernetes: "v1.2"}, "", "v1.35, v1.37"},
		{"a part that does not exist, naming those that do", Options{Parts: []string{"kube-api"}}, "", "kube-apiserver"},
		{"a folder of assets that lacks a part, naming the part", Options{}, os.TempDir(), "kube-apiserver"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv(EnvAssets, row.assets)
			if row.assets == "" {
				t.Setenv("GATEPASS_CACHE", t.TempDir())
			}
			_, err := Ensure(t.Context(), row.options)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q in it", err, row.want)
			}
		})
	}
}

func TestEnsureTakesCompleteAssetsAsTheyAre(t *testing.T) {
	dir := t.TempDir()
	for _, part := range ControlPlane() {
		if err := os.WriteFile(filepath.Join(dir, part), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(EnvAssets, dir)
	got, err := Ensure(t.Context(), Options{})
	if err != nil || got != dir {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAddOnsAreNotExpectedAmongAssets(t *testing.T) {
	t.Setenv("GATEPASS_CACHE", t.TempDir())
	b, err := newBuilder(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range AddOns() {
		pretend(t, b, part)
	}
	t.Setenv(EnvAssets, t.TempDir())
	got, err := Ensure(t.Context(), Options{Parts: AddOns()})
	if err != nil || got != b.dir {
		t.Errorf("got %q, %v", got, err)
	}
}

// pretend puts a file where a part would be built, up to date, and returns
// the part's target.
func pretend(t *testing.T, b *builder, part string) target {
	t.Helper()
	target, err := b.target(part)
	if err != nil {
		t.Fatal(err)
	}
	stamp, err := b.stamp(target)
	if err != nil {
		t.Fatal(err)
	}
	if b.upToDate(target, stamp) {
		t.Fatal("nothing is built, yet it counts as up to date")
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{b.stampFile(target), filepath.Join(b.dir, part)} {
		if err := os.WriteFile(file, []byte(stamp), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return target
}

func TestWhatIsUpToDateIsNotBuiltAgain(t *testing.T) {
	t.Setenv(EnvAssets, "")
	t.Setenv("GATEPASS_CACHE", t.TempDir())
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	b, err := newBuilder(ctx, Options{Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	pretend(t, b, "etcd")
	if err := b.build(ctx, []string{"etcd"}); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 0 {
		t.Errorf("something was built: %s", &out)
	}
	// With another compiler it has to be built again. A context that is done
	// keeps this test from doing so.
	b.goVer = "go9.99"
	cancel()
	if err := b.build(ctx, []string{"etcd"}); err == nil {
		t.Error("a binary of another compiler counts as up to date")
	}
}

func TestAChangedSourceIsBuiltAgain(t *testing.T) {
	source := t.TempDir()
	if err := os.Mkdir(filepath.Join(source, "coredns"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(source, "coredns", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module m")
	write("go.sum", "")
	write("main.go", "package main")
	b := &builder{source: source, dir: t.TempDir()}
	target := pretend(t, b, CoreDNS)
	for _, change := range []struct{ name, file, content string }{
		{"another pin", "go.mod", "module n"},
		{"another program", "main.go", "package other"},
		{"one more file", "more.go", "package main"},
	} {
		before, err := b.stamp(target)
		if err != nil {
			t.Fatal(err)
		}
		write(change.file, change.content)
		after, err := b.stamp(target)
		if err != nil {
			t.Fatal(err)
		}
		if before == after {
			t.Errorf("%s: the stamp stays the same", change.name)
		}
	}
}

func TestCRDsAreThoseOfThePinnedModule(t *testing.T) {
	dir, err := CRDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "cert-manager.io_certificates.yaml")); err != nil {
		t.Error(err)
	}
}

func TestProgressTellsComplaintsFromPackages(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "etcd", 2)
	got := p.follow(strings.NewReader("example.com/a\n# example.com/b\nb.go:1:1: undefined: x\n"))
	if got != "# example.com/b\nb.go:1:1: undefined: x\n" {
		t.Errorf("complaints: %q", got)
	}
	p.report(1, "example.com/a")
	if !strings.Contains(out.String(), "1 of 2 packages") {
		t.Errorf("progress: %q", &out)
	}
}
