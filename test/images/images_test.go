package images_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/images"
	"github.com/gatepass/gatepass/test/repo"
)

func checkout(t *testing.T) string {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// product is the product's image of a name.
func product(t *testing.T, name string) images.Image {
	t.Helper()
	all, err := images.Product(checkout(t), version)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(all, func(i images.Image) bool { return i.Name == name })
	if at < 0 {
		t.Fatalf("no image is called %s", name)
	}
	return all[at]
}

func TestEveryImageInTheManifestsIsOneOfOurs(t *testing.T) {
	all, err := images.Product(checkout(t), version)
	if err != nil {
		t.Fatal(err)
	}
	var ours, named []string
	for _, i := range all {
		if i.Name != "cli" { // for people; no manifest runs it
			ours = append(ours, i.Ref)
		}
	}
	manifests := os.DirFS(filepath.Join(checkout(t), "manifests"))
	err = fs.WalkDir(manifests, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(manifests, path)
		for _, m := range regexp.MustCompile(`(?m)^\s*(?:- )?image: (\S+)`).FindAllSubmatch(content, -1) {
			named = append(named, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ours)
	slices.Sort(named)
	if !slices.Equal(ours, slices.Compact(named)) {
		t.Errorf("the manifests name %v; the images are called %v", named, ours)
	}
}

func TestProductRefusesManifestsThat(t *testing.T) {
	for _, row := range []struct{ name, manifest, want string }{
		{"name images of two versions", "image: ghcr.io/gatepass/agent:v1\nimage: ghcr.io/gatepass/webhook:v2\n", "v2, another manifest one of v1"},
		{"name none of ours", "image: example.org/gatepass/agent:v1\n", "no image of ghcr.io/gatepass/"},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "manifests"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, "manifests", "one.yaml"), []byte(row.manifest), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := images.Product(root, version); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q in it", err, row.want)
			}
		})
	}
}

func TestAnImageOfFilesOfThisMachine(t *testing.T) {
	source := t.TempDir()
	for name, content := range map[string]string{"run": "a program", "page": "a page"} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one := images.Platform{OS: "linux", Arch: "amd64"}
	built, err := images.Build(t.Context(), images.Options{
		Image: images.Image{
			Name: "application", Ref: "gatepass.test/application:v1", Version: "v1", Title: "Application",
			Files: []images.File{
				{Path: "/bin/run", Source: filepath.Join(source, "run"), Mode: 0o755},
				{Path: "/srv/www/page", Source: filepath.Join(source, "page")},
				{Path: "/srv/www/same", Source: filepath.Join(source, "page")},
			},
			Entrypoint: []string{"/bin/run", "serve"},
			User:       "1000:0",
		},
		Platforms: []images.Platform{one},
		Dir:       filepath.Join(t.TempDir(), "new folder"),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, index := open(t, built)
	byPlatform := imagesOf(t, index)
	got, is := byPlatform[one]
	if !is || len(byPlatform) != 1 {
		t.Fatalf("got images for %v", byPlatform)
	}
	const want = `drwxr-xr-x bin/
-rwxr-xr-x bin/run: a program
drwxr-xr-x srv/
drwxr-xr-x srv/www/
-r--r--r-- srv/www/page: a page
-r--r--r-- srv/www/same: a page`
	if files := list(got.files); files != want {
		t.Errorf("got:\n%s", files)
	}
	if c := got.config.Config; c.User != "1000:0" || !slices.Equal(c.Entrypoint, []string{"/bin/run", "serve"}) {
		t.Errorf("got %+v", c)
	}
	checkTimeless(t, got)
	if mode := stat(t, built.File); mode != 0o644 {
		t.Errorf("the archive's mode is %s", mode)
	}
}

func stat(t *testing.T, file string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestBuildRefuses(t *testing.T) {
	source := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(source, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := func(path string) []images.File { return []images.File{{Path: path, Source: source}} }
	for _, row := range []struct {
		name   string
		change func(*images.Image)
		want   string
	}{
		{"an image without a name", func(i *images.Image) { i.Name = "" }, `name ""`},
		{"a name that is a path", func(i *images.Image) { i.Name = "../agent" }, "use a file name"},
		{"a reference without a tag", func(i *images.Image) { i.Ref = "gatepass.test/agent" }, "ref:"},
		{"a relative path", func(i *images.Image) { i.Files = file("bin/agent") }, "absolute path"},
		{"a path that leaves the image", func(i *images.Image) { i.Files = file("/../agent") }, "absolute path"},
		{"two files of one path", func(i *images.Image) { i.Files = append(file("/a"), file("/a")...) }, "/a is there twice"},
		{"a file in a file", func(i *images.Image) { i.Files = append(file("/a"), file("/a/b")...) }, "/a is a folder, too"},
		{"a file from nowhere", func(i *images.Image) { i.Files = []images.File{{Path: "/a"}} }, "either Source or Program"},
		{"a file of two origins", func(i *images.Image) {
			i.Files = []images.File{{Path: "/a", Source: source, Program: images.Program{Package: "./cmd/gatepass"}}}
		}, "either Source or Program"},
		{"a source that is not there", func(i *images.Image) { i.Files = []images.File{{Path: "/a", Source: source + "s"}} }, "files: no such file"},
		{"a program that can't be built, with the compiler's reason", func(i *images.Image) {
			i.Files = []images.File{{Path: "/a", Program: images.Program{Package: "./cmd/missing"}}}
		}, "cmd/missing: directory not found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := images.Image{Name: "agent", Ref: "gatepass.test/agent:v1", Files: file("/a")}
			row.change(&i)
			dir := t.TempDir()
			_, err := images.Build(t.Context(), images.Options{Image: i, Root: checkout(t), Dir: dir})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q in it", err, row.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
}
