package injector

import (
	"slices"

	"github.com/distribution/reference"

	"github.com/gatepass/gatepass/injector/profile"
)

// sameImage reports whether an image is the one that was asked for. Other
// webhooks rewrite registries to a mirror, which must be listed, and pin tags
// to digests. Everything else must be equal.
func sameImage(have, want string, mirrors []profile.ImageMirror) bool {
	if have == want {
		return true
	}
	h, ok := parseImage(have)
	w, ok2 := parseImage(want)
	if !ok || !ok2 {
		return false
	}
	mirrored := func(m profile.ImageMirror) bool {
		name, ok := m.Rewrite(w.name)
		return ok && name == h.name
	}
	if h.name != w.name && !slices.ContainsFunc(mirrors, mirrored) {
		return false
	}
	switch {
	case w.digest != "":
		return h.digest == w.digest && (h.tag == "" || w.tag == "" || h.tag == w.tag)
	case h.digest != "":
		return h.tag == "" || h.tag == w.tag
	default:
		return h.tag == w.tag
	}
}

// image is an image's reference in parts; name has the registry.
type image struct{ name, tag, digest string }

// parseImage reads a reference as container runtimes do: without a registry it
// is Docker's, and without tag and digest it is "latest".
func parseImage(ref string) (i image, ok bool) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return image{}, false
	}
	named = reference.TagNameOnly(named)
	i.name = named.Name()
	if t, ok := named.(reference.Tagged); ok {
		i.tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		i.digest = d.Digest().String()
	}
	return i, true
}
