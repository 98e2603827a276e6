package catalog

import (
	"fmt"

	"github.com/gatepass/gatepass/gateway/access"
)

// sight is the view, and what one caller may do.
type sight struct {
	*View
	grants access.Grants
}

func (c *Catalog) sight(of Caller) sight {
	v := c.View()
	return sight{v, v.Policy().For(access.Identity{AccessID: of.AccessID, SubClaims: of.SubClaims})}
}

// thing is an object that a rule may be about, by kind and name.
type thing struct {
	of   access.RuleType
	path access.Path
}

// kind is what people call it.
func (t thing) kind() string {
	switch t.of {
	case access.RoleRule:
		return "role"
	case access.AuthMethodRule:
		return "auth method"
	case access.ItemRule:
	}
	return "item"
}

func (t thing) String() string {
	if t.of == access.ItemRule {
		return t.kind() + " " + t.path.String()
	}
	return t.kind() + " " + t.path.Name()
}

// named reads the name of an object.
func named(of access.RuleType, name string) (thing, error) {
	t := thing{of: of}
	if name == "" {
		return t, fmt.Errorf("%w: the name of the %s is missing", ErrInvalid, t.kind())
	}
	path, err := access.ParsePath(name)
	if err != nil {
		return t, fmt.Errorf("%w: %s: %w", ErrInvalid, t.kind(), err)
	}
	if len(path.Name()) > maxName {
		return t, fmt.Errorf("%w: the name of the %s must have at most %d bytes", ErrInvalid, t.kind(), maxName)
	}
	t.path = path
	return t, nil
}

// may returns nil if the caller has a capability on a thing that exists, and
// otherwise what it may know: that the thing is not there, or nothing.
func (s sight) may(do access.Capability, t thing, exists bool) error {
	switch {
	case s.grants.Allow(do, t.of, t.path) && exists:
		return nil
	case !exists && s.grants.MayKnow(t.of, t.path):
		return fmt.Errorf("%s: %w", t, ErrNotFound)
	}
	return denied(do, t)
}

// mayCreate is may for a thing that must not exist.
func (s sight) mayCreate(t thing, exists bool) error {
	switch {
	case !s.grants.Allow(access.Create, t.of, t.path):
		return denied(access.Create, t)
	case exists:
		return fmt.Errorf("%s: %w", t, ErrExists)
	}
	return checkVisible("the name of the "+t.kind(), t.path.Name())
}

// mayMove is mayCreate for the new name of a thing that the caller may change. Under it
// the caller may do what its rules on that name say, and others no longer find the thing
// under the old one: that is what reading and deleting it amount to.
func (s sight) mayMove(from, to thing, exists bool) error {
	for _, do := range [...]access.Capability{access.Read, access.Delete} {
		if err := s.may(do, from, true); err != nil {
			return err
		}
	}
	return s.mayCreate(to, exists)
}

func (s sight) mayList(t thing) bool { return s.grants.MayKnow(t.of, t.path) }

// mayListName is mayList for a name that the configuration file gives, which
// need not be a path.
func (s sight) mayListName(of access.RuleType, name string) bool {
	path, err := access.ParsePath(name)
	return err == nil && s.grants.MayKnow(of, path)
}

// mayRead says whether the caller may read what it may list.
func (s sight) mayRead(of access.RuleType, name string) bool {
	path, err := access.ParsePath(name)
	return err == nil && s.grants.Allow(access.Read, of, path)
}

func denied(do access.Capability, t thing) error {
	return fmt.Errorf("%w: %s on %s is not allowed", ErrDenied, do, t)
}

// readOnly is the error of changing what the configuration file declares.
func readOnly(t thing) error { return fmt.Errorf("%s: %w", t, ErrReadOnly) }
