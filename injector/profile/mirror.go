package profile

import (
	"errors"
	"strings"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ImageMirror says that other webhooks may rewrite images from one place to
// another. It never makes Gatepass rewrite one itself.
type ImageMirror struct {
	// From is a registry, or a registry and the beginning of a path: images
	// whose names begin so may be rewritten.
	From string `json:"from"`
	// To takes From's place.
	To string `json:"to"`
}

// Rewrite returns the mirror's name of an image, which is given with its
// registry and without tag or digest. It reports whether the mirror has it.
func (m ImageMirror) Rewrite(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, m.From)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return m.To + rest, true
}

func (v *validator) imageMirrors(p *field.Path, mirrors []ImageMirror) []ImageMirror {
	seen := make(map[ImageMirror]bool, len(mirrors))
	for i, m := range mirrors {
		for _, side := range []struct{ name, value string }{{"from", m.From}, {"to", m.To}} {
			if err := checkImagePlace(side.value); err != nil {
				v.invalid(p.Index(i).Child(side.name), side.value, err.Error())
			}
		}
		switch {
		case seen[m]:
			v.errs = append(v.errs, field.Duplicate(p.Index(i), m.From))
		case m.From == m.To && m.From != "":
			v.invalid(p.Index(i).Child("to"), m.To, "is the same as from; name the place to which images are rewritten")
		}
		seen[m] = true
	}
	return mirrors
}

// checkImagePlace reports why v is not a registry with an optional path. A name
// under it must read back as it is written: short names stand for others
// ("agent" for docker.io/library/agent), and so does index.docker.io.
func checkImagePlace(v string) error {
	const child = "/x"
	named, err := reference.ParseNormalizedNamed(v + child)
	if err != nil || named.Name() != v+child || !reference.IsNameOnly(named) {
		return errors.New("must be a registry, and a path in it if not all of it is meant, without tag or digest, for example ghcr.io/gatepass")
	}
	return nil
}
