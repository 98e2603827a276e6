package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/store"
)

// Associate implements Accessor.
func (a *accessor) Associate(ctx context.Context, made Association) (id string, err error) {
	r := a.begin("role-associate", made.Role)
	r.event.Role, r.event.AuthMethod, r.event.SubClaims = made.Role, made.Method, recordedClaims(made.SubClaims)
	err = r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		role, m, err := s.ends(made.Role, made.Method)
		if err != nil {
			return nil, err
		}
		next := &association{id: "ass-" + randomText(20)}
		next.Role, next.AccessID, next.Created = role.ID, m.AccessID, time.Now().UTC()
		next.SubClaims, next.CaseSensitive = maps.Clone(made.SubClaims), made.CaseSensitive
		if err := next.check(role, m); err != nil {
			return nil, err
		}
		for l := range s.links() {
			if l.role.ID == role.ID && l.AccessID == m.AccessID && l.CaseSensitive == next.CaseSensitive && maps.Equal(l.SubClaims, next.SubClaims) {
				return nil, fmt.Errorf("association of role %s with auth method %s under these sub-claims: %w", role.name, m.name, ErrExists)
			}
		}
		id = next.id
		record, err := encode(next.associationRecord)
		if err != nil {
			return nil, err
		}
		// Both ends are written again as they are, so that neither is deleted by
		// somebody who does not know of the association.
		ops, err := touch(m)
		if err != nil {
			return nil, err
		}
		if !role.declared {
			same, err := role.encode()
			if err != nil {
				return nil, err
			}
			ops = append(ops, store.Update(role.key(), same, role.revision))
		}
		return append(ops, store.Create(next.key(), record)), nil
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// recordedClaims are sub-claims as the audit log has them.
func recordedClaims(claims map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		texts = append(texts, name+"="+claims[name])
	}
	return strings.Join(texts, "; ")
}

// about names what an association connects in the audit log.
func (r *request) about(l link) {
	r.event.Role, r.event.AuthMethod, r.event.SubClaims = l.role.name, l.method.name, recordedClaims(l.SubClaims)
}

// ends returns a role and an auth method that the caller may associate.
func (s sight) ends(roleName, methodName string) (*role, *method, error) {
	t, err := named(access.RoleRule, roleName)
	if err != nil {
		return nil, nil, err
	}
	r := s.role(t.path.Name())
	if err := s.may(access.Update, t, r != nil); err != nil {
		return nil, nil, err
	}
	m, _, err := s.methodFor(access.Update, methodName)
	if err != nil {
		return nil, nil, err
	}
	return r, m, nil
}

func (a *association) check(r *role, m *method) error {
	if m.ForceSubClaims && len(a.SubClaims) == 0 {
		return invalid("auth method %s asks for sub-claims in its associations", m.name)
	}
	asked := access.Association{Role: r.name, AccessID: m.AccessID, SubClaims: a.SubClaims, IgnoreCase: !a.CaseSensitive}
	if err := asked.Validate(field.NewPath("association")).ToAggregate(); err != nil {
		return invalid("%w", err)
	}
	for name, patterns := range a.SubClaims {
		if err := checkVisible("the sub-claim "+name, patterns); err != nil {
			return err
		}
	}
	return nil
}

// UpdateAssociation implements Accessor.
func (a *accessor) UpdateAssociation(ctx context.Context, id string, change func(*Association) error) error {
	r := a.begin("association-update", id)
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		l, err := s.linkTo(id)
		if err != nil {
			return nil, err
		}
		r.about(l)
		if _, _, err := s.methodFor(access.Update, l.method.name); err != nil {
			return nil, err
		}
		wanted := l.tell()
		if err := change(&wanted); err != nil {
			return nil, err
		}
		next := *l.association
		next.SubClaims, next.CaseSensitive = maps.Clone(wanted.SubClaims), wanted.CaseSensitive
		r.event.SubClaims = recordedClaims(next.SubClaims)
		if err := next.check(l.role, l.method); err != nil {
			return nil, err
		}
		record, err := encode(next.associationRecord)
		if err != nil {
			return nil, err
		}
		return []store.Op{store.Update(next.key(), record, l.revision)}, nil
	})
}

// DeleteAssociation implements Accessor.
func (a *accessor) DeleteAssociation(ctx context.Context, id string) error {
	r := a.begin("association-delete", id)
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		l, err := s.linkTo(id)
		if err != nil {
			return nil, err
		}
		r.about(l)
		return []store.Op{store.Delete(l.key(), l.revision)}, nil
	})
}

// linkTo returns an association whose role the caller may change. Who may not know
// of the role can't tell its association from none: an id can't be guessed, so all
// who ask for one that is not there get the same answer.
func (s sight) linkTo(id string) (link, error) {
	a, r, m := s.association(id)
	missing := fmt.Errorf("association %s: %w", shorten(id), ErrNotFound)
	if a == nil || !s.mayListName(access.RoleRule, r.name) {
		return link{}, missing
	}
	t, err := named(access.RoleRule, r.name)
	if err != nil {
		return link{}, err
	}
	if err := s.may(access.Update, t, true); err != nil {
		return link{}, err
	}
	if a.declared {
		return link{}, fmt.Errorf("association %s: %w", id, ErrReadOnly)
	}
	return link{a, r, m}, nil
}
