package catalog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/store"
)

// configThing is what decides who may do something with an auth config: the auth
// method that it belongs to, or, if it belongs to none, what has its own name. One whose
// auth method is gone is nobody's but an administrator's.
func (s sight) configThing(c *authConfig) (t thing, ok bool) {
	name := c.name
	if c.AccessID != "" {
		m := s.methodByID(c.AccessID)
		if m == nil {
			return t, false
		}
		name = m.name
	}
	t, err := named(access.AuthMethodRule, name)
	return t, err == nil
}

// mayConfig reports whether the caller has a capability on an auth config.
func (s sight) mayConfig(do access.Capability, c *authConfig) bool {
	t, ok := s.configThing(c)
	if !ok {
		return s.mayAdministrate()
	}
	return s.grants.Allow(do, t.of, t.path)
}

// mayListConfig reports whether the caller may know of an auth config.
func (s sight) mayListConfig(c *authConfig) bool {
	t, ok := s.configThing(c)
	if !ok {
		return s.mayAdministrate()
	}
	return s.mayList(t)
}

// configFor returns an auth config that the caller has a capability on.
func (s sight) configFor(do access.Capability, name string) (*authConfig, error) {
	t, err := named(access.AuthMethodRule, name)
	if err != nil {
		return nil, err
	}
	c := s.config(t.path.Name())
	if c == nil {
		if s.mayList(t) {
			return nil, fmt.Errorf("auth config %s: %w", t.path.Name(), ErrNotFound)
		}
		return nil, deniedConfig(do, t.path.Name())
	}
	if !s.mayConfig(do, c) {
		return nil, deniedConfig(do, c.name)
	}
	return c, nil
}

// deniedConfig does not name the auth method, which only a config that exists has.
func deniedConfig(do access.Capability, name string) error {
	return fmt.Errorf("%w: %s on auth config %s is not allowed", ErrDenied, do, name)
}

// owner returns the auth method that an auth config is to belong to, if the
// caller may change it.
func (s sight) owner(c *AuthConfig) (*method, error) {
	if c.AccessID == "" {
		t, err := named(access.AuthMethodRule, c.Name)
		if err != nil {
			return nil, err
		}
		return nil, s.may(access.Update, t, true)
	}
	m := s.methodByID(c.AccessID)
	name := c.Name
	if m != nil {
		name = m.name
	}
	t, err := named(access.AuthMethodRule, name)
	if err != nil {
		return nil, err
	}
	switch {
	case !s.grants.Allow(access.Update, t.of, t.path), m == nil && !s.mayAdministrate():
		// It does not say whether there is such an access id, and whose it is. An id
		// that is not there has no name that anybody could be allowed to list.
		return nil, fmt.Errorf("%w: %s on the auth method of access id %s is not allowed", ErrDenied, access.Update, shorten(c.AccessID))
	case m == nil:
		return nil, fmt.Errorf("access id %s: %w", shorten(c.AccessID), ErrNotFound)
	case m.Type != TypeK8s:
		return nil, invalid("the auth method %s is of type %s and has no Kubernetes auth configs", m.name, m.Type)
	}
	return m, nil
}

// touch makes a commit collide with every other change of the method, its deletion
// first of all.
func touch(m *method) ([]store.Op, error) {
	if m == nil || m.declared {
		return nil, nil
	}
	record, err := encode(m.methodRecord)
	if err != nil {
		return nil, err
	}
	return []store.Op{store.Update(m.key(), record, m.revision)}, nil
}

// CreateAuthConfig implements Accessor.
func (a *accessor) CreateAuthConfig(ctx context.Context, c AuthConfig) (AuthConfig, error) {
	var made *authConfig
	r := a.begin("auth-config-create", c.Name)
	r.event.Host, r.event.Reviewer = c.Host, string(c.Reviewer)
	err := r.change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		t, err := named(access.AuthMethodRule, c.Name)
		if err != nil {
			return nil, err
		}
		m, err := s.owner(&c)
		if err != nil {
			return nil, err
		}
		if err := s.freeConfigName(t); err != nil {
			return nil, err
		}
		now := time.Now().UTC()
		made = &authConfig{name: t.path.Name()}
		made.ID, made.Created = newID(), now
		secrets := configSecrets{c.ReviewerJWT, c.ClientKey}
		ops, err := a.setConfig(made, m, &c, secrets, now)
		if err != nil {
			return nil, err
		}
		record, err := encode(made.authConfigRecord)
		if err != nil {
			return nil, err
		}
		touched, err := touch(m)
		return append(append(ops, store.Create(made.key(), record)), touched...), err
	})
	if err != nil {
		return AuthConfig{}, err
	}
	return made.tell(), nil
}

// setConfig checks what a caller wants an auth config to be, and writes it and its
// secrets down, under the number after next.Secret.
func (a *accessor) setConfig(next *authConfig, m *method, c *AuthConfig, secrets configSecrets, now time.Time) ([]store.Op, error) {
	if err := c.check(secrets); err != nil {
		return nil, err
	}
	if err := checkSigningKey(m, c.SigningKey, next.AccessID != "" && next.AccessID == c.AccessID); err != nil {
		return nil, err
	}
	if a.options.Usable != nil {
		whole := *c
		whole.ReviewerJWT, whole.ClientKey = secrets.ReviewerJWT, secrets.ClientKey
		if err := a.options.Usable(&whole); err != nil {
			return nil, invalid("the auth config can't be used by this gateway: %w", err)
		}
	}
	next.AccessID, next.Host, next.CACert = c.AccessID, c.Host, c.CACert
	next.Reviewer, next.ClientCert = c.Reviewer, c.ClientCert
	next.Issuer, next.DisableIssuerValidation = c.Issuer, c.DisableIssuerValidation
	next.TokenExpiration = int64(c.TokenExpiration / time.Second)
	next.Modified = now
	var ops []store.Op
	if next.Secret != 0 {
		ops = append(ops, store.Delete(configSecretKey(next.ID, next.Secret), store.Any))
	}
	next.Secret++
	plain, err := json.Marshal(secrets)
	if err != nil {
		return nil, fmt.Errorf("write the secrets of an auth config: %w", err)
	}
	defer clear(plain)
	sealed, err := a.sealed(configSecretKey(next.ID, next.Secret), plain)
	if err != nil {
		return nil, err
	}
	return append(ops, sealed), nil
}

// check says what is wrong with an auth config.
func (c *AuthConfig) check(secrets configSecrets) error {
	if c.Host != "" {
		if problem := config.CheckURL(c.Host); problem != "" {
			return invalid("the Kubernetes host %s", problem)
		}
	}
	if c.CACert != "" {
		if err := config.CheckBundle(c.CACert); err != nil {
			return invalid("the Kubernetes CA %w", err)
		}
	}
	if len(c.Issuer) > maxTag || c.TokenExpiration < 0 {
		return invalid("the issuer must have at most %d bytes, and the token's life must not be negative", maxTag)
	}
	if err := checkVisible("the issuer", c.Issuer); err != nil {
		return err
	}
	return c.checkReviewer(secrets)
}

// checkReviewer checks that the credentials are there that the reviewer needs.
func (c *AuthConfig) checkReviewer(secrets configSecrets) error {
	switch c.Reviewer {
	case ReviewerGateway:
		if c.Host != "" {
			return invalid("the gateway's own service account reviews in its own cluster only; leave the host out, or give a reviewer's token")
		}
		if c.CACert != "" {
			// Its token would go to whatever server that CA has signed for.
			return invalid("the gateway's own service account reviews at the API server that its own cluster's CA has signed for; leave the CA out, or give a reviewer's token")
		}
	case ReviewerToken:
		if len(secrets.ReviewerJWT) == 0 || bytes.ContainsAny(secrets.ReviewerJWT, " \t\r\n") {
			return invalid("the reviewer's token is missing, or holds white space")
		}
	case ReviewerCertificate:
		if _, err := tls.X509KeyPair([]byte(c.ClientCert), secrets.ClientKey); err != nil {
			return invalid("the client certificate and its key must be PEM and belong together")
		}
	case ReviewerSelf:
	default:
		return invalid("the reviewer must be %s, %s, %s or %s", ReviewerGateway, ReviewerToken, ReviewerCertificate, ReviewerSelf)
	}
	return nil
}

// UpdateAuthConfig implements Accessor.
func (a *accessor) UpdateAuthConfig(ctx context.Context, name string, change func(*AuthConfig) error) (AuthConfig, error) {
	var told AuthConfig
	r := a.begin("auth-config-update", name)
	err := r.change(ctx, func(ctx context.Context, s sight) ([]store.Op, error) {
		old, err := s.configTo(access.Update, name)
		if err != nil {
			return nil, err
		}
		c := old.tell()
		if err := change(&c); err != nil {
			return nil, err
		}
		r.event.Host, r.event.Reviewer = c.Host, string(c.Reviewer)
		if c.AccessID != old.AccessID {
			return nil, fmt.Errorf("auth config %s: it is %w by %s, to which it belongs; delete it, or create one of another name", old.name, ErrInUse, s.ownerOf(old))
		}
		m, err := s.owner(&c)
		if err != nil {
			return nil, err
		}
		secrets, err := a.keptSecrets(ctx, old, &c)
		if err != nil {
			return nil, err
		}
		next := *old
		ops, err := a.setConfig(&next, m, &c, secrets, time.Now().UTC())
		if err != nil {
			return nil, err
		}
		if next.name, err = s.renameConfig(old, c.Name); err != nil {
			return nil, err
		}
		if next.name != old.name {
			r.event.NewName = next.name
		}
		told = next.tell()
		record, err := encode(next.authConfigRecord)
		if err != nil {
			return nil, err
		}
		touched, err := touch(m)
		return append(append(ops, moved(old.key(), old.revision, next.key(), record)...), touched...), err
	})
	if err != nil {
		return AuthConfig{}, err
	}
	return told, nil
}

func (s sight) renameConfig(old *authConfig, newName string) (string, error) {
	t, err := named(access.AuthMethodRule, newName)
	if err != nil || t.path.Name() == old.name {
		return old.name, err
	}
	if m := s.referringTo(old.ID); m != nil {
		return "", fmt.Errorf("auth config %s: its name is %w by %s", old.name, ErrInUse, s.known(m))
	}
	if old.AccessID == "" && !s.mayConfig(access.Read, old) {
		// Its name decides who may read it.
		return "", deniedConfig(access.Read, old.name)
	}
	return t.path.Name(), s.freeConfigName(t)
}

// freeConfigName returns nil if an auth config may get a name.
func (s sight) freeConfigName(t thing) error {
	name := t.path.Name()
	hidden, _ := s.configs.get(name)
	if c := cmp.Or(s.config(name), hidden); c != nil {
		return fmt.Errorf("auth config %s: %w; it belongs to %s", name, ErrExists, s.ownerOf(c))
	}
	if m := s.referringTo(DeclaredID(name)); m != nil {
		return fmt.Errorf("auth config %s: the name is %w by %s, which lets in through an auth config of the configuration file that had it; choose another name, or take it out of that first", name, ErrInUse, s.known(m))
	}
	return checkVisible("the name of the auth config", name)
}

// known names an auth method to who may list it.
func (s sight) known(m *method) string {
	if s.mayListName(access.AuthMethodRule, m.name) {
		return "auth method " + m.name
	}
	return "another auth method"
}

// configTo returns an auth config that the caller may change.
func (s sight) configTo(do access.Capability, name string) (*authConfig, error) {
	c, err := s.configFor(do, name)
	if err != nil {
		return nil, err
	}
	if c.declared {
		return nil, fmt.Errorf("auth config %s: %w", c.name, ErrReadOnly)
	}
	return c, nil
}

// AuthConfig implements Accessor.
func (a *accessor) AuthConfig(_ context.Context, name string) (told AuthConfig, err error) {
	err = a.begin("auth-config-read", name).read(func(s sight) error {
		c, err := s.configFor(access.Read, name)
		if err == nil {
			told = c.tell()
		}
		return err
	})
	if err != nil {
		return AuthConfig{}, err
	}
	return told, nil
}

// ListAuthConfigs implements Accessor. Of those that the caller may list, but not
// read, it tells names and ids.
func (a *accessor) ListAuthConfigs(context.Context) (configs []AuthConfig, err error) {
	r := a.begin("auth-config-list", "")
	err = r.read(func(s sight) error {
		for _, c := range s.allConfigs() {
			switch {
			case !s.mayListConfig(c):
			case s.mayConfig(access.Read, c):
				configs = append(configs, c.tell())
			default:
				configs = append(configs, AuthConfig{ID: c.ID, Name: c.name, AccessID: c.AccessID, FromFile: c.declared})
			}
		}
		r.event.Count = len(configs)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return configs, nil
}

// DeleteAuthConfig implements Accessor.
func (a *accessor) DeleteAuthConfig(ctx context.Context, name string) error {
	return a.begin("auth-config-delete", name).change(ctx, func(_ context.Context, s sight) ([]store.Op, error) {
		old, err := s.configTo(access.Update, name)
		if err != nil {
			return nil, err
		}
		if m := s.referringTo(old.ID); m != nil {
			return nil, fmt.Errorf("auth config %s: it is %w by %s", old.name, ErrInUse, s.known(m))
		}
		ops := []store.Op{store.Delete(old.key(), old.revision)}
		if old.Secret != 0 {
			ops = append(ops, store.Delete(configSecretKey(old.ID, old.Secret), store.Any))
		}
		return ops, nil
	})
}
