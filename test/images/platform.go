package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/gatepass/gatepass/test/release"
)

const (
	programMode = 0o555
	fileMode    = 0o444
	folderMode  = 0o755
)

// forPlatform makes the image of one platform; it builds programs in the
// folder work.
func forPlatform(ctx context.Context, o Options, p Platform, work string) (v1.Image, Size, error) {
	content, err := layerContent(ctx, o, p, work)
	if err != nil {
		return nil, Size{}, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, Size{}, err
	}
	compressed, err := layer.Size()
	if err != nil {
		return nil, Size{}, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(base, configFile(o.Image, p))
	if err != nil {
		return nil, Size{}, err
	}
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: noDate()}}); err != nil {
		return nil, Size{}, err
	}
	annotated, ok := mutate.Annotations(image, labels(o.Image)).(v1.Image)
	if !ok {
		return nil, Size{}, errors.New("an annotated image is none any more")
	}
	return annotated, Size{Platform: p, Compressed: compressed, Unpacked: int64(len(content))}, nil
}

// noDate is the usual date of what has none; some tools want the field.
func noDate() v1.Time { return v1.Time{Time: time.Unix(0, 0).UTC()} }

func configFile(i Image, p Platform) *v1.ConfigFile {
	user := i.User
	if user == "" {
		user = Nonroot
	}
	return &v1.ConfigFile{
		OS: p.OS, Architecture: p.Arch,
		Created: noDate(),
		RootFS:  v1.RootFS{Type: "layers"},
		Config:  v1.Config{User: user, Entrypoint: i.Entrypoint, WorkingDir: "/", Labels: labels(i)},
	}
}

// labels are also the annotations of manifests. Their names are those of the
// OCI image specification, in annotations.md.
func labels(i Image) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":   i.Title,
		"org.opencontainers.image.version": i.Version,
		"org.opencontainers.image.source":  "https://github.com/gatepass/gatepass",
	}
}

// layerContent is the layer's tar file: each folder before what is in it.
func layerContent(ctx context.Context, o Options, p Platform, work string) ([]byte, error) {
	entries := map[string]*tar.Header{}
	sources := map[string]string{}
	for i, f := range o.Image.Files {
		source, mode := f.Source, fs.FileMode(fileMode)
		if f.Program.Package != "" {
			dir := filepath.Join(work, strconv.Itoa(i))
			err := release.Build(ctx, release.Options{
				Root: o.Root, Module: f.Program.Module, Programs: []string{f.Program.Package},
				Version: o.Image.Version, OS: p.OS, Arch: p.Arch, Dir: dir,
			})
			if err != nil {
				return nil, err
			}
			source, mode = filepath.Join(dir, path.Base(f.Program.Package)), programMode
		}
		if f.Mode != 0 {
			mode = f.Mode
		}
		name := strings.TrimPrefix(f.Path, "/")
		sources[name] = source
		entries[name] = &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode.Perm())}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, is := entries[dir]; !is {
				entries[dir] = &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: folderMode}
			}
		}
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := writeEntry(w, entries[name], sources[name]); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// writeEntry writes a file with the content of source, or a folder. A header
// without times and owner says 1970 and root.
func writeEntry(w *tar.Writer, h *tar.Header, source string) error {
	if source == "" {
		return w.WriteHeader(h)
	}
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	h.Size = int64(len(content))
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

// together makes the index of the platforms' images.
func together(i Image, platforms []Platform, images []v1.Image) (v1.ImageIndex, error) {
	var index v1.ImageIndex = empty.Index
	for n, p := range platforms {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        images[n],
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.OS, Architecture: p.Arch}},
		})
	}
	annotated, ok := mutate.Annotations(index, labels(i)).(v1.ImageIndex)
	if !ok {
		return nil, errors.New("an annotated index is none any more")
	}
	return annotated, nil
}
