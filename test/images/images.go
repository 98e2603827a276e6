// Package images makes container images out of programs of this checkout and
// of files, without Docker and without a registry: archives of OCI image layouts, which
// `ctr images import` reads, as does every tool that knows the format.
//
// An image has an empty base and one layer. The same sources and the same Go
// make the same image, bit for bit: nothing in it tells when or where it was made.
package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Nonroot is the user and group of an image that names none. Kubernetes can
// only tell from a number that a user is not root (runAsNonRoot).
const Nonroot = "65532:65532"

// Platform is what an image runs on, in Go's words.
type Platform struct{ OS, Arch string }

// String is the usual notation, as in linux/amd64.
func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Platforms lists those that images are released for.
func Platforms() []Platform { return []Platform{{"linux", "amd64"}, {"linux", "arm64"}} }

// Image describes an image.
type Image struct {
	// Name is that of the archive, which gets the ending .tar.
	Name string
	// Ref is the full name with tag under which a node knows the image.
	Ref string
	// Title and Version are for people. Programs say the version, too.
	Title, Version string
	// Files are all that is in it, besides their folders.
	Files []File
	// Entrypoint is the command that a pod's args are appended to.
	Entrypoint []string
	// User is the UID and GID as in 1000:1000; Nonroot if it is empty.
	User string
}

// File is a file of an image; root owns it. It has either Source or Program.
type File struct {
	// Path in the image, absolute.
	Path string
	// Mode is 0555 for a program and 0444 for another file if it is 0.
	Mode fs.FileMode
	// Source is a file of this machine, the same on every platform.
	Source string
	// Program is built for each platform.
	Program Program
}

// Program is a main package of this checkout.
type Program struct {
	// Module is the folder of its module: empty for the product, test for the
	// test bed.
	Module string
	// Package as in ./cmd/gatepass-agent.
	Package string
}

// Options say what Build makes.
type Options struct {
	Image Image
	// Root is the checkout that programs come from.
	Root string
	// Dir gets the archive.
	Dir string
	// Platforms are Platforms() if none is named.
	Platforms []Platform
}

// Built is a finished archive.
type Built struct {
	File   string
	Ref    string
	Digest string // of the image index, as in sha256:…
	Sizes  []Size // one for each platform
}

// Size is what an image of one platform takes, in bytes.
type Size struct {
	Platform   Platform
	Compressed int64 // as it is transferred
	Unpacked   int64 // as an uncompressed layer, some headers included
}

// Build makes an image for all platforms and writes its archive.
func Build(ctx context.Context, o Options) (Built, error) {
	built, err := build(ctx, o)
	if err != nil {
		return Built{}, fmt.Errorf("make the image %s: %w", o.Image.Name, err)
	}
	return built, nil
}

func build(ctx context.Context, o Options) (_ Built, err error) {
	if err := check(o.Image); err != nil {
		return Built{}, err
	}
	if len(o.Platforms) == 0 {
		o.Platforms = Platforms()
	}
	work, err := os.MkdirTemp("", "gatepass-image-")
	if err != nil {
		return Built{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	result := Built{File: filepath.Join(o.Dir, o.Image.Name+".tar"), Ref: o.Image.Ref}
	made := make([]v1.Image, 0, len(o.Platforms))
	for _, p := range o.Platforms {
		image, size, err := forPlatform(ctx, o, p, filepath.Join(work, p.Arch))
		if err != nil {
			return Built{}, fmt.Errorf("for %s: %w", p, err)
		}
		made = append(made, image)
		result.Sizes = append(result.Sizes, size)
	}
	index, err := together(o.Image, o.Platforms, made)
	if err != nil {
		return Built{}, err
	}
	digest, err := index.Digest()
	if err != nil {
		return Built{}, err
	}
	result.Digest = digest.String()
	return result, archive(result.File, o.Image.Ref, index, filepath.Join(work, "layout"))
}
