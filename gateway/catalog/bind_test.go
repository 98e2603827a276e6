package catalog

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/store"
)

// fileWith is a configuration file with an auth method and, if it has a name, an auth
// config of it.
func fileWith(configName string) *config.Config {
	cfg := &config.Config{AuthMethods: []config.AuthMethod{{Name: "of-the-file", AccessID: "p-abcdefghij12km"}}}
	if configName != "" {
		cfg.KubernetesAuthConfigs = []config.KubernetesAuthConfig{{Name: configName, AccessID: "p-abcdefghij12km", Reviewer: config.Reviewer{Type: config.ReviewerSelf}}}
	}
	return cfg
}

// tenant is somebody who may do everything with one auth method, and nothing else.
func (r *rig) tenant(method string) (who Accessor, accessID string) {
	r.t.Helper()
	who = r.with("tenant", rule(access.AuthMethodRule, "/"+method, access.Read, access.Create, access.Update, access.Delete))
	made, err := who.CreateMethod(r.t.Context(), Method{Name: method, Type: TypeK8s})
	r.must(err)
	return who, made.AccessID
}

// vouched returns the names of the auth configs that let in identities of a method.
func (r *rig) vouched(accessID string) []string {
	r.t.Helper()
	logins, err := r.Logins(r.t.Context())
	r.must(err)
	var names []string
	for _, m := range logins.Methods {
		for _, c := range logins.AuthConfigs {
			if m.AccessID == accessID && (c.AccessID == accessID || slices.Contains(m.AuthConfigs, c.ID)) {
				names = append(names, c.Name)
			}
		}
		for name := range r.View().file.configs {
			if m.AccessID == accessID && slices.Contains(m.AuthConfigs, DeclaredID(name)) {
				names = append(names, name+" of the file")
			}
		}
	}
	slices.Sort(names)
	return names
}

func (r *rig) vouches(what, accessID string, want ...string) {
	r.t.Helper()
	if got := r.vouched(accessID); !slices.Equal(got, want) {
		r.t.Errorf("%s: identities come through %q, want %q", what, got, want)
	}
}

// An auth method of one's own is no way to become another one: neither before the other
// exists nor after what it named is gone.
func TestANameThatIsTakenGivesNothing(t *testing.T) {
	t.Parallel()
	t.Run("an auth config that an administrator thinks is a mount's", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		ctx := t.Context()
		r.SetFile(fileWith(""))
		tenant, tenantID := r.tenant("tenant/web")
		_, err := tenant.CreateAuthConfig(ctx, AuthConfig{Name: "kubernetes", AccessID: tenantID, Host: "https://evil.example", Reviewer: ReviewerSelf})
		r.must(err)
		for what, err := range map[string]error{
			"a mount's auth config":         updated(r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "kubernetes", Reviewer: ReviewerSelf})),
			"a role of the mount":           updated(r.admin.CreateMethod(ctx, Method{Name: "role", Type: TypeK8s, AuthConfigs: []string{"kubernetes"}})),
			"the administrator takes it":    updated(r.admin.UpdateAuthConfig(ctx, "kubernetes", func(c *AuthConfig) error { c.AccessID = ""; return nil })),
			"it is given to another method": updated(r.admin.UpdateAuthConfig(ctx, "kubernetes", func(c *AuthConfig) error { c.AccessID = "p-abcdefghij12km"; return nil })),
		} {
			if !errors.Is(err, ErrInUse) && !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "auth method tenant/web (access id "+tenantID+")") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if m, _, err := r.admin.Method(ctx, "role"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the role is there: %+v", m)
		}
	})
	t.Run("the name of an auth config that left the configuration file", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		ctx := t.Context()
		r.SetFile(fileWith("kubernetes"))
		role, err := r.admin.CreateMethod(ctx, Method{Name: "role", Type: TypeK8s, AuthConfigs: []string{"kubernetes"}})
		r.must(err)
		r.vouches("while the file declares it", role.AccessID, "kubernetes of the file")
		tenant, tenantID := r.tenant("tenant/web")
		r.SetFile(fileWith(""))
		r.vouches("when it has left the file", role.AccessID)
		squat := AuthConfig{Name: "kubernetes", AccessID: tenantID, Host: "https://evil.example", Reviewer: ReviewerSelf}
		if _, err := tenant.CreateAuthConfig(ctx, squat); !errors.Is(err, ErrInUse) || strings.Contains(err.Error(), "role") {
			t.Errorf("a tenant takes the name: %v", err)
		}
		if _, err := r.admin.CreateAuthConfig(ctx, squat); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "auth method role") {
			t.Errorf("the administrator does not learn who refers to it: %v", err)
		}
		squat.Name = "other"
		_, err = tenant.CreateAuthConfig(ctx, squat)
		r.must(err)
		if _, err := tenant.UpdateAuthConfig(ctx, "other", func(c *AuthConfig) error { c.Name = "kubernetes"; return nil }); !errors.Is(err, ErrInUse) {
			t.Errorf("a tenant renames to it: %v", err)
		}
		// Changing the method in another way does not bind it anew.
		r.must(r.admin.UpdateMethod(ctx, "role", func(m *Method) error { m.Description = "x"; return nil }))
		r.SetFile(fileWith("kubernetes"))
		r.vouches("when the file declares it again", role.AccessID, "kubernetes of the file")
	})
	t.Run("the name of an auth config that the configuration file hides", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		ctx := t.Context()
		r.SetFile(fileWith(""))
		_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "kubernetes", Reviewer: ReviewerSelf})
		r.must(err)
		role, err := r.admin.CreateMethod(ctx, Method{Name: "role", Type: TypeK8s, AuthConfigs: []string{"kubernetes"}})
		r.must(err)
		r.vouches("before", role.AccessID, "kubernetes")
		r.SetFile(fileWith("kubernetes"))
		r.must(r.admin.UpdateMethod(ctx, "role", func(m *Method) error { m.Description = "x"; return nil }))
		if got := r.vouched(role.AccessID); slices.Contains(got, "kubernetes of the file") {
			t.Errorf("a method of the store comes through %q", got)
		}
		r.SetFile(fileWith(""))
		r.vouches("afterwards", role.AccessID, "kubernetes")
	})
	t.Run("the access id of an auth method that left the configuration file", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		ctx := t.Context()
		r.SetFile(fileWith(""))
		_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "tenant/web", AccessID: "p-abcdefghij12km", Reviewer: ReviewerToken, ReviewerJWT: []byte("a.b.c")})
		r.must(err)
		r.SetFile(&config.Config{})
		tenant, _ := r.tenant("tenant/web")
		if _, err := tenant.AuthConfig(ctx, "tenant/web"); !errors.Is(err, ErrDenied) {
			t.Errorf("whoever has rules on its name reads it: %v", err)
		}
		if err := updated(tenant.UpdateAuthConfig(ctx, "tenant/web", func(c *AuthConfig) error { c.Host = "https://evil.example"; return nil })); !errors.Is(err, ErrDenied) {
			t.Errorf("and changes it: %v", err)
		}
		if all, err := tenant.ListAuthConfigs(ctx); err != nil || len(all) != 0 {
			t.Errorf("and lists it: %+v, %v", all, err)
		}
		r.must(r.admin.DeleteAuthConfig(ctx, "tenant/web"))
	})
}

// legacy writes auth methods as earlier versions did, with the names of auth configs.
func (r *rig) legacy(o Options, methods map[string][]string) map[string]string {
	r.t.Helper()
	ids := map[string]string{}
	for name, names := range methods {
		m := &method{name: name}
		m.Type, m.AccessID, m.AuthConfigNames = TypeK8s, newAccessID(TypeK8s), names
		record, err := encode(m.methodRecord)
		r.must(err)
		_, err = (records{o.Store, o.Seal}).Commit(r.t.Context(), store.Create(m.key(), record))
		r.must(err)
		ids[name] = m.AccessID
	}
	return ids
}

func TestMethodsOfEarlierVersionsAreBoundToWhatTheyNamed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o := Options{Store: openStore(t, t.TempDir()), Seal: newSealer(t), Audit: &ledger{}}
	first, stop := start(t, o)
	credentials, err := first.Bootstrap(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Catalog: first, t: t, admin: first.As(Caller{AccessID: credentials.AccessID, Session: "root"})}
	r.SetFile(fileWith("declared"))
	tenant, tenantID := r.tenant("tenant/web")
	_, err = tenant.CreateAuthConfig(ctx, AuthConfig{Name: "foreign", AccessID: tenantID, Reviewer: ReviewerSelf})
	r.must(err)
	_, err = r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "mount", Reviewer: ReviewerSelf})
	r.must(err)
	stop()
	ids := r.legacy(o, map[string][]string{
		"of-mount": {"mount"}, "of-file": {"declared"}, "of-both": {"mount", "declared"}, "of-none": {"gone"}, "of-foreign": {"foreign", "mount"},
	})
	check := func(what string) {
		t.Helper()
		for name, want := range map[string][]string{
			"of-mount": {"mount"}, "of-file": {"declared of the file"}, "of-both": {"declared of the file", "mount"}, "of-none": nil, "of-foreign": {"mount"},
		} {
			r.vouches(what+": "+name, ids[name], want...) //nolint:contextcheck // the rig has the test's
		}
		for _, name := range []string{"gone", "declared"} {
			if err := updated(r.admin.CreateAuthConfig(ctx, AuthConfig{Name: name, AccessID: tenantID, Reviewer: ReviewerSelf})); !errors.Is(err, ErrInUse) && !errors.Is(err, ErrExists) {
				t.Errorf("%s: the name %s is free: %v", what, name, err)
			}
		}
		if m, _, err := r.admin.Method(ctx, "of-both"); err != nil || !slices.Equal(m.AuthConfigs, []string{"mount", "declared"}) {
			t.Errorf("%s: it is told as of %q: %v", what, m.AuthConfigs, err)
		}
	}
	again := func() func() {
		c, stop := start(t, o)
		r.Catalog, r.admin = c, c.As(Caller{AccessID: credentials.AccessID, Session: "root"})
		return stop
	}
	stop = again()
	r.SetFile(fileWith("declared"))
	check("at once")
	until(t, "the methods to be written", func() bool { return r.written(ctx, o, ids) })
	check("when they are written")
	stop()

	// What has the names does not matter any more.
	stop = again()
	defer stop()
	r.SetFile(fileWith("mount"))
	if got := r.vouched(ids["of-mount"]); slices.Contains(got, "mount of the file") {
		t.Errorf("a method that named the store's auth config comes through %q", got)
	}
	r.SetFile(fileWith("declared"))
	check("after another file")
}

// written reports whether no method of the store has names of auth configs.
func (r *rig) written(ctx context.Context, o Options, ids map[string]string) bool {
	r.t.Helper()
	for name := range ids {
		found, err := (records{o.Store, o.Seal}).Get(ctx, methodPrefix+name)
		r.must(err)
		m, err := decode[methodRecord](found.Value)
		r.must(err)
		if len(m.AuthConfigNames) > 0 || len(m.AuthConfigs) == 0 {
			return false
		}
	}
	return true
}
