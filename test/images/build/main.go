// Command build makes the product's images, all if none is named. Run it in
// the folder test/:
//
//	go run ./images/build -out ../bin/images
//	go run ./images/build -version v0.1.0 -out ../bin/images agent
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/gatepass/gatepass/test/images"
	"github.com/gatepass/gatepass/test/repo"
)

func main() {
	version := flag.String("version", "devel", "what the programs in the images say")
	out := flag.String("out", "", "folder that gets an archive for each image")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *version, *out, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, version, out string, names []string) error {
	if out == "" {
		return errors.New("-out is missing: name the folder for the archives, as in -out ../bin/images")
	}
	root, err := repo.Root()
	if err != nil {
		return err
	}
	all, err := images.Product(root, version)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(i images.Image) bool { return i.Name == name }) {
			return fmt.Errorf("%q is not one of our images", name)
		}
	}
	for _, image := range all {
		if len(names) > 0 && !slices.Contains(names, image.Name) {
			continue
		}
		built, err := images.Build(ctx, images.Options{Image: image, Root: root, Dir: out})
		if err != nil {
			return err
		}
		fmt.Printf("%s\n  is %s@%s\n", built.File, built.Ref, built.Digest)
		for _, s := range built.Sizes {
			fmt.Printf("  %s: %.1f MB, unpacked %.1f MB\n", s.Platform, megabytes(s.Compressed), megabytes(s.Unpacked))
		}
	}
	return nil
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }
