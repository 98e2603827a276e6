package images

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// check reports everything about a description that is wrong.
func check(i Image) error {
	var errs []error
	if i.Name == "" || strings.ContainsAny(i.Name, `/\`) {
		errs = append(errs, fmt.Errorf("name %q: use a file name", i.Name))
	}
	if _, err := name.NewTag(i.Ref, name.StrictValidation); err != nil {
		errs = append(errs, fmt.Errorf("ref: %w", err))
	}
	seen := map[string]bool{}
	for _, f := range i.Files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" {
			errs = append(errs, fmt.Errorf("file %q: use a clean, absolute path", f.Path))
		}
		if seen[f.Path] {
			errs = append(errs, fmt.Errorf("file %s is there twice", f.Path))
		}
		seen[f.Path] = true
		if (f.Source == "") == (f.Program.Package == "") {
			errs = append(errs, fmt.Errorf("file %s: give either Source or Program", f.Path))
		}
	}
	for _, f := range i.Files {
		for dir := path.Dir(f.Path); len(dir) > 1; dir = path.Dir(dir) {
			if seen[dir] {
				errs = append(errs, fmt.Errorf("file %s is a folder, too, for %s", dir, f.Path))
			}
		}
	}
	return errors.Join(errs...)
}
