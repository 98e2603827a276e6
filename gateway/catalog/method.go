package catalog

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/store"
)

// CreateMethod implements Accessor.
func (a *accessor) CreateMethod(ctx context.Context, m Method) (CreatedMethod, error) {
	var made CreatedMethod
	r := a.begin("auth-method-create", m.Name)
	err := r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		t, err := named(access.AuthMethodRule, m.Name)
		if err != nil {
			return nil, err
		}
		if err := s.mayCreate(t, s.method(t.path.Name()) != nil || s.methods.has(t.path.Name())); err != nil {
			return nil, err
		}
		now := time.Now().UTC()
		next := &method{name: t.path.Name()}
		next.Type, next.AccessID = m.Type, newAccessID(m.Type)
		next.Created = now
		if err := s.setMethod(next, &m, now); err != nil {
			return nil, err
		}
		made = CreatedMethod{Name: next.name, AccessID: next.AccessID}
		if err := giveKeys(next, &m, &made); err != nil {
			return nil, err
		}
		record, err := encode(next.methodRecord)
		if err != nil {
			return nil, err
		}
		ops := []store.Op{store.Create(next.key(), record), store.Create(accessIDPrefix+next.AccessID, []byte("{}"))}
		return append(ops, s.expectConfigs(next)...), nil
	})
	if err != nil {
		return CreatedMethod{}, err
	}
	return made, nil
}

// setMethod checks what a caller wants a method to be, and writes it down.
func (s sight) setMethod(next *method, m *Method, now time.Time) error {
	if err := m.check(); err != nil {
		return err
	}
	configs, err := s.bindConfigs(next, m.AuthConfigs)
	if err != nil {
		return err
	}
	next.Description = m.Description
	next.Expires = m.Expires.UTC()
	if m.Expires.IsZero() {
		next.Expires = time.Time{}
	}
	next.SessionTTL, next.SessionMaxTTL = int64(m.SessionTTL/time.Second), int64(m.SessionMaxTTL/time.Second)
	next.AuthConfigs = configs
	next.BoundIPs, next.GatewayBoundIPs = slices.Clone(m.BoundIPs), slices.Clone(m.GatewayBoundIPs)
	next.ForceSubClaims = m.ForceSubClaims
	next.Audience = m.Audience
	next.Namespaces, next.PodNames = slices.Clone(m.Namespaces), slices.Clone(m.PodNames)
	next.ServiceAccounts = slices.Clone(m.ServiceAccounts)
	next.Modified = now
	return nil
}

// expectConfigs makes a commit fail if an auth config that the method refers to has
// gone meanwhile.
func (s sight) expectConfigs(m *method) []store.Op {
	var ops []store.Op
	for _, id := range m.AuthConfigs {
		if c := s.configByID(id); c != nil && !c.declared {
			ops = append(ops, store.Expect(c.key(), c.revision))
		}
	}
	return ops
}

// giveKeys makes the keys of a new method, and tells the caller those that are the
// caller's to have. A key pair proves that the maker of an auth config may bind it to
// the method, and nothing else: the gateway keeps the public half, and signs sessions
// with keys of its own.
func giveKeys(next *method, m *Method, made *CreatedMethod) error {
	switch {
	case m.PublicKey != "" && m.GeneratedKey:
		return invalid("a public key is given, and a generated key is asked for; choose one")
	case m.PublicKey != "":
		public, err := parsePublicKey(m.PublicKey)
		if err != nil {
			return err
		}
		next.PublicKey = public
	case m.GeneratedKey && m.Type == TypeK8s:
		private, public, err := generateKey()
		if err != nil {
			return err
		}
		next.PublicKey, next.Key, next.GeneratedKey = public, generatedKey, true
		made.PrivateKey = private
	}
	if m.Type == TypeAccessKey {
		made.AccessKey, next.AccessKeyHash = newAccessKey()
	}
	return nil
}

// accessKeySize is how many random bytes an access key has.
const accessKeySize = 32

// newAccessKey makes a key of 256 random bits, and the hash that is kept of it.
func newAccessKey() (key string, hash []byte) {
	random := make([]byte, accessKeySize)
	_, _ = rand.Read(random) // it never fails
	key = base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(key))
	return key, sum[:]
}

// UpdateMethod implements Accessor.
func (a *accessor) UpdateMethod(ctx context.Context, name string, change func(*Method) error) error {
	r := a.begin("auth-method-update", name)
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		old, err := s.methodTo(access.Update, name)
		if err != nil {
			return nil, err
		}
		m := s.tellMethod(old)
		m.PublicKey = "" // keeps the key
		if err := change(&m); err != nil {
			return nil, err
		}
		if m.Type != old.Type {
			return nil, invalid("an auth method can't change its type from %s", old.Type)
		}
		next := *old
		if err := s.setMethod(&next, &m, time.Now().UTC()); err != nil {
			return nil, err
		}
		if err := s.replaceKey(&next, m.PublicKey); err != nil {
			return nil, err
		}
		if next.name, err = s.renameMethod(old, m.Name); err != nil {
			return nil, err
		}
		if next.name != old.name {
			r.event.NewName = next.name
		}
		record, err := encode(next.methodRecord)
		if err != nil {
			return nil, err
		}
		return append(moved(old.key(), old.revision, next.key(), record), s.expectConfigs(&next)...), nil
	})
}

func (s sight) renameMethod(old *method, newName string) (string, error) {
	t, err := named(access.AuthMethodRule, newName)
	if err != nil || t.path.Name() == old.name {
		return old.name, err
	}
	if old.AccessID == s.administrator {
		return "", fmt.Errorf("auth method %s: its name is fixed: %w", old.name, ErrReadOnly)
	}
	from, err := named(access.AuthMethodRule, old.name)
	if err != nil {
		return "", err
	}
	return t.path.Name(), s.mayMove(from, t, s.method(t.path.Name()) != nil || s.methods.has(t.path.Name()))
}

// replaceKey puts another public key in the place of a method's, unless an auth config
// was bound to it by the old one.
func (s sight) replaceKey(next *method, public string) error {
	if public == "" || next.Type != TypeK8s {
		return nil
	}
	parsed, err := parsePublicKey(public)
	if err != nil || parsed == next.PublicKey {
		return err
	}
	if c := s.configOf(next.AccessID); c != nil {
		return fmt.Errorf("auth method %s: the key is %w by auth config %s; delete that first", next.name, ErrInUse, c.name)
	}
	next.PublicKey, next.Key, next.GeneratedKey = parsed, 0, false
	return nil
}

// configOf returns an auth config that belongs to an auth method, or nil. It looks at
// those that the configuration file hides, too.
func (s sight) configOf(accessID string) *authConfig {
	for _, c := range s.file.configs {
		if c.AccessID == accessID {
			return c
		}
	}
	for _, c := range s.configs.all() {
		if c.AccessID == accessID {
			return c
		}
	}
	return nil
}

// methodTo returns a method that the caller may change.
func (s sight) methodTo(do access.Capability, name string) (*method, error) {
	m, t, err := s.methodFor(do, name)
	if err != nil {
		return nil, err
	}
	if m.declared {
		return nil, readOnly(t)
	}
	if m.Deleting && do != access.Delete {
		return nil, fmt.Errorf("%s: its deletion ended halfway, and associations of it are gone; delete it again: %w", t, ErrInUse)
	}
	return m, nil
}

// methodFor returns a method that the caller has a capability on. Who changes the
// administrator's could become the administrator, so that takes the right to change
// the administrator's role, too.
func (s sight) methodFor(do access.Capability, name string) (*method, thing, error) {
	t, err := named(access.AuthMethodRule, name)
	if err != nil {
		return nil, t, err
	}
	m := s.method(t.path.Name())
	if err := s.may(do, t, m != nil); err != nil {
		return nil, t, err
	}
	if do != access.Read && m.AccessID == s.administrator && !s.mayAdministrate() {
		return nil, t, denied(do, t)
	}
	return m, t, nil
}

// mayAdministrate says whether the caller may change the administrator's role,
// which nobody can: it stands for all that only an administrator does.
func (s sight) mayAdministrate() bool {
	path, err := access.ParsePath(administratorRole)
	return err == nil && s.grants.Allow(access.Update, access.RoleRule, path)
}

// Method implements Accessor. Of the associations it tells those whose role the
// caller may know.
func (a *accessor) Method(_ context.Context, name string) (told Method, associations []Association, err error) {
	err = a.begin("auth-method-read", name).read(func(s sight) error {
		m, _, err := s.methodFor(access.Read, name)
		if err != nil {
			return err
		}
		told = s.tellMethod(m)
		associations = tellAll(s.linksOf(func(l link) bool {
			return l.method == m && s.mayListName(access.RoleRule, l.role.name)
		}))
		return nil
	})
	if err != nil {
		return Method{}, nil, err
	}
	return told, associations, nil
}

func tellAll(links []link) []Association {
	told := make([]Association, 0, len(links))
	for _, l := range links {
		told = append(told, l.tell())
	}
	return told
}

// ListMethods implements Accessor.
func (a *accessor) ListMethods(_ context.Context, p Page) (methods []Method, next string, err error) {
	r := a.begin("auth-method-list", "")
	err = r.read(func(s sight) error {
		var found []*method
		found, next = page(slices.DeleteFunc(s.allMethods(), func(m *method) bool {
			return !s.mayListName(access.AuthMethodRule, m.name)
		}), p, func(m *method) string { return m.name })
		for _, m := range found {
			methods = append(methods, s.listMethod(m))
		}
		r.event.Count = len(methods)
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return methods, next, nil
}

// listMethod is what a list tells of a method.
func (s sight) listMethod(m *method) Method {
	if s.mayRead(access.AuthMethodRule, m.name) {
		return s.tellMethod(m)
	}
	return Method{
		Name: m.name, AccessID: m.AccessID, Type: m.Type, FromFile: m.declared, Listed: true,
		AuthConfigs: slices.DeleteFunc(s.tellMethod(m).AuthConfigs, func(name string) bool {
			return !s.mayListName(access.AuthMethodRule, name)
		}),
	}
}

// DeleteMethod implements Accessor. The method's associations go with it; while it
// has auth configs, which hold credentials, it stays.
func (a *accessor) DeleteMethod(ctx context.Context, name string) error {
	r := a.begin("auth-method-delete", name)
	return r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		old, err := s.methodTo(access.Delete, name)
		if err != nil {
			return nil, err
		}
		if old.AccessID == s.administrator {
			return nil, fmt.Errorf("auth method %s: it is the administrator's, and %w; let it expire instead", old.name, ErrInUse)
		}
		if c := s.configOf(old.AccessID); c != nil {
			return nil, fmt.Errorf("auth method %s: it is %w by auth config %s; delete that first", old.name, ErrInUse, c.name)
		}
		ops := []store.Op{
			store.Delete(old.key(), old.revision),
			store.Delete(accessIDPrefix+old.AccessID, store.Any),
		}
		return r.withAssociations(old.key(), old.revision, ops, s.linksOf(func(l link) bool { return l.method == old }), func() ([]byte, error) {
			if old.Deleting {
				return nil, nil
			}
			next := *old
			next.Deleting, next.Expires, next.Modified = true, time.Now().UTC(), time.Now().UTC()
			return encode(next.methodRecord)
		})
	})
}

// withAssociations adds the deletion of an object's associations to its own. Together they
// may be too many for one commit. The object is made useless first then, because some
// associations deny: if a later commit fails, nobody may do more than before. disable
// returns the object's record for that, or nil if it is useless already.
func (r *request) withAssociations(key string, revision int64, ops []store.Op, links []link, disable func() ([]byte, error)) ([]store.Op, error) {
	var deletions []store.Op
	for _, l := range links {
		if !l.declared {
			deletions = append(deletions, store.Delete(l.key(), store.Any))
		}
	}
	if len(ops)+len(deletions) <= maxOps {
		return append(ops, deletions...), nil
	}
	r.more = true
	record, err := disable()
	if err != nil {
		return nil, err
	}
	if record != nil {
		return []store.Op{store.Update(key, record, revision)}, nil
	}
	return append([]store.Op{store.Expect(key, revision)}, deletions[:maxOps-1]...), nil
}

// RotateAccessKey implements Accessor. Sessions of the old key last until they end
// or are revoked.
func (a *accessor) RotateAccessKey(ctx context.Context, name string) (accessKey string, err error) {
	r := a.begin("access-key-rotate", name)
	err = r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		old, err := s.methodTo(access.Update, name)
		if err != nil {
			return nil, err
		}
		if old.Type != TypeAccessKey {
			return nil, invalid("auth method %s has no access key: it is of type %s", old.name, old.Type)
		}
		next := *old
		next.Modified = time.Now().UTC()
		accessKey, next.AccessKeyHash = newAccessKey()
		record, err := encode(next.methodRecord)
		if err != nil {
			return nil, err
		}
		return []store.Op{store.Update(old.key(), record, old.revision)}, nil
	})
	if err != nil {
		return "", err
	}
	return accessKey, nil
}

// sameKey says whether a private key in PEM belongs to a public one.
func sameKey(private []byte, public string) bool {
	key, err := parsePrivateKey(private)
	if err != nil {
		return false
	}
	encoded, err := encodePublicKey(key.Public())
	return err == nil && bytes.Equal([]byte(encoded), []byte(public))
}
