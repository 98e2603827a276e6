package images

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// Annotations in an archive's index.json under which importers look for the
// image's name: containerd for the full one (its package images, constant
// AnnotationImageName), others for the tag (OCI image specification,
// annotations.md).
const (
	annotationName = "io.containerd.image.name"
	annotationTag  = "org.opencontainers.image.ref.name"
)

// archive writes an OCI layout into the folder dir and packs it into file.
func archive(file, ref string, index v1.ImageIndex, dir string) error {
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return err
	}
	named := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add:        index,
		Descriptor: v1.Descriptor{Annotations: map[string]string{annotationName: ref, annotationTag: tag.TagStr()}},
	})
	if _, err := layout.Write(dir, named); err != nil {
		return err
	}
	return pack(os.DirFS(dir), file)
}

// pack writes a tar file beside its place and renames it there, so that nobody
// ever imports half a file.
func pack(dir fs.FS, file string) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	err = errors.Join(writeTar(out, dir), out.Chmod(fileReadable), out.Close())
	if err != nil {
		return err
	}
	return os.Rename(out.Name(), file)
}

// fileReadable is the mode of an archive; CreateTemp's is for its owner alone.
const fileReadable = 0o644

// writeTar packs a folder's files, in the order of their names.
func writeTar(out *os.File, dir fs.FS) error {
	w := tar.NewWriter(out)
	err := fs.WalkDir(dir, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(dir, path)
		if err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: fileReadable, Size: int64(len(content))}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	return errors.Join(err, w.Close())
}
