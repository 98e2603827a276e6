package images_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/gatepass/gatepass/test/images"
)

// entry is a file or folder of a tar archive.
type entry struct {
	*tar.Header
	content string
}

func untar(t *testing.T, r io.Reader) []entry {
	t.Helper()
	var entries []entry
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{header, string(content)})
	}
}

// open reads an archive back. The result is its index.json's only entry, and
// the index that this entry names.
func open(t *testing.T, built images.Built) (v1.Descriptor, v1.ImageIndex) {
	t.Helper()
	file, err := os.Open(built.File)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dir := t.TempDir()
	for _, e := range untar(t, file) {
		path := filepath.Join(dir, filepath.FromSlash(e.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(e.content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(outer); err != nil {
		t.Errorf("the archive is not valid: %v", err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("index.json has %d entries; want one", len(manifest.Manifests))
	}
	index, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Manifests[0], index
}

// image is one platform's image of an index.
type image struct {
	manifest *v1.Manifest
	config   *v1.ConfigFile
	files    []entry
}

func imagesOf(t *testing.T, index v1.ImageIndex) map[images.Platform]image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	all := map[images.Platform]image{}
	for _, m := range manifest.Manifests {
		one, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		all[images.Platform{OS: m.Platform.OS, Arch: m.Platform.Architecture}] = read(t, one)
	}
	return all
}

func read(t *testing.T, one v1.Image) image {
	t.Helper()
	manifest, err := one.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := one.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := one.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 1 {
		t.Fatalf("the image has %d layers; want one, on an empty base", len(layers))
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	return image{manifest: manifest, config: config, files: untar(t, content)}
}

// list describes files in a line each.
func list(files []entry) string {
	var lines []string
	for _, f := range files {
		line := f.FileInfo().Mode().String() + " " + f.Name
		if f.Typeflag == tar.TypeReg && len(f.content) < 40 {
			line += ": " + f.content
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
