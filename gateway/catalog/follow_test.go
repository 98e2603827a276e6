package catalog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/store"
)

func TestTwoCatalogsOfOneStore(t *testing.T) {
	t.Parallel()
	database, sealer := openStore(t, t.TempDir()), newSealer(t)
	options := Options{Store: database, Seal: sealer, Audit: &ledger{}}
	a, _ := start(t, options)
	b, _ := start(t, options)
	ctx := t.Context()

	made := make(chan Credentials, 4)
	var race sync.WaitGroup
	for _, c := range []*Catalog{a, b, a, b} {
		race.Go(func() {
			credentials, err := c.Bootstrap(ctx, nil)
			if err != nil {
				t.Error(err)
			}
			if credentials != nil {
				made <- *credentials
			}
		})
	}
	race.Wait()
	if len(made) != 1 {
		t.Fatalf("%d administrators", len(made))
	}
	credentials := <-made
	root := Caller{AccessID: credentials.AccessID, Session: "root"}
	for _, c := range []*Catalog{a, b} {
		until(t, "both to know the administrator", func() bool {
			_, err := c.Login(ctx, credentials.AccessID, credentials.AccessKey)
			return err == nil
		})
	}
	atA, atB := a.As(root), b.As(root)

	const writers, writes = 8, 20
	if err := atA.CreateItem(ctx, Item{Name: "shared"}, []byte("0")); err != nil {
		t.Fatal(err)
	}
	until(t, "the item to be seen", func() bool { _, err := atB.Item(ctx, "shared"); return err == nil })
	var versions sync.Map
	for w := range writers {
		race.Go(func() {
			as := atA
			if w%2 == 1 {
				as = atB
			}
			for n := range writes {
				version, err := as.SetValue(ctx, "shared", fmt.Append(nil, w, n), -1)
				if err != nil {
					t.Error(err)
					return
				}
				if _, twice := versions.LoadOrStore(version, true); twice {
					t.Errorf("version %d was made twice", version)
				}
				// Who wrote reads it.
				if _, got, err := as.Value(ctx, "shared", version); err != nil || got != version {
					t.Errorf("version %d can't be read after it was written: %v", version, err)
				}
			}
		})
	}
	race.Wait()
	until(t, "all versions to be seen", func() bool {
		i, err := atA.Item(ctx, "shared")
		return err == nil && i.Latest() == writers*writes+1
	})

	// A name is given once.
	var created atomic.Int32
	for w := range writers {
		race.Go(func() {
			as := atA
			if w%2 == 1 {
				as = atB
			}
			switch _, err := as.CreateMethod(ctx, Method{Name: "one", Type: TypeK8s}); {
			case err == nil:
				created.Add(1)
			case !errors.Is(err, ErrExists):
				t.Error(err)
			}
		})
	}
	race.Wait()
	if created.Load() != 1 {
		t.Errorf("a name was given %d times", created.Load())
	}

	began := time.Now()
	claims := &session.Claims{ID: "x", AccessID: root.AccessID, IssuedAt: began.Unix(), Expiry: began.Add(time.Hour).Unix()}
	if err := a.As(CallerOf(claims, "", "v2")).RevokeSession(ctx, claims.ExpiresAt()); err != nil {
		t.Fatal(err)
	}
	until(t, "the revocation to arrive", func() bool { _, err := b.Live(claims, time.Now()); return errors.Is(err, session.ErrRevoked) })
	if took := time.Since(began); took > time.Second {
		t.Errorf("a revocation took %s", took)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.CreateFile(key); err != nil {
		t.Fatal(err)
	}
	var root Caller
	var before []string
	describe := func(c *Catalog) []string {
		t.Helper()
		ctx, as := t.Context(), c.As(root)
		var all []string
		items, _, _, err := as.ListItems(ctx, "/", Page{})
		for _, i := range items {
			value, _, valueErr := as.Value(ctx, i.Name, 0)
			all = append(all, fmt.Sprintf("%+v %s", i, value))
			err = errors.Join(err, valueErr)
		}
		methods, _, methodErr := as.ListMethods(ctx, Page{})
		configs, configErr := as.ListAuthConfigs(ctx)
		roles, _, roleErr := as.ListRoles(ctx, Page{})
		role, oneErr := as.Role(ctx, "of/web")
		settings, settingsErr := as.Settings(ctx)
		logins, loginErr := c.Logins(ctx)
		if err := errors.Join(err, methodErr, configErr, roleErr, oneErr, settingsErr, loginErr); err != nil {
			t.Fatal(err)
		}
		v := c.View()
		return append(all, fmt.Sprintf("%+v %+v %+v %+v %+v %d methods", methods, configs, roles, role, settings, len(logins.Methods)),
			fmt.Sprint(v.revokedSessions.len(), v.revokedMethods.len(), v.leases.len(), v.administrator))
	}
	t.Run("first", func(t *testing.T) {
		log := &ledger{}
		c, stop := start(t, Options{Store: openStore(t, dir), Seal: openSealer(t, key), Audit: log})
		defer stop()
		made, err := c.Bootstrap(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		root = Caller{AccessID: made.AccessID, Session: "root"}
		r := &rig{Catalog: c, t: t, log: log, admin: c.As(root), root: root}
		furnish(r)
		web := r.with("web", rule(access.ItemRule, "/*", access.Read))
		r.must(web.RevokeSession(t.Context(), time.Now().Add(time.Hour)))
		r.must(web.RenewSession(t.Context(), time.Now().Add(time.Hour), time.Now().Add(time.Hour)))
		r.must(r.admin.RevokeMethod(t.Context(), "who/web"))
		r.must(r.admin.UpdateSettings(t.Context(), Settings{SessionTTL: time.Hour}))
		before = describe(c)
	})
	t.Run("second", func(t *testing.T) {
		c, stop := start(t, Options{Store: openStore(t, dir), Seal: openSealer(t, key), Audit: &ledger{}})
		defer stop()
		if made, err := c.Bootstrap(t.Context(), nil); err != nil || made != nil {
			t.Errorf("another administrator was made: %v", err)
		}
		after := describe(c)
		for i := range max(len(before), len(after)) {
			if i >= len(after) || i >= len(before) || before[i] != after[i] {
				t.Fatalf("before:\n%v\nafter:\n%v", before, after)
			}
		}
	})
}

// outage is a store that can't be reached for a while.
type outage struct {
	store.Store
	away atomic.Bool
	// slow makes commits hang instead of failing.
	slow atomic.Bool
}

func (o *outage) fails(ctx context.Context) error {
	if o.slow.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if o.away.Load() {
		return fmt.Errorf("%w: cable cut", store.ErrUnavailable)
	}
	return nil
}

func (o *outage) Commit(ctx context.Context, ops ...store.Op) (int64, error) {
	if err := o.fails(ctx); err != nil {
		return 0, err
	}
	return o.Store.Commit(ctx, ops...)
}

func (o *outage) Get(ctx context.Context, key string) (store.Item, error) {
	if err := o.fails(ctx); err != nil {
		return store.Item{}, err
	}
	return o.Store.Get(ctx, key)
}

func TestOutage(t *testing.T) {
	t.Parallel()
	o := &outage{Store: openStore(t, t.TempDir())}
	c, _ := start(t, Options{Store: o, Seal: newSealer(t), Audit: &ledger{}})
	ctx := t.Context()
	made, err := c.Bootstrap(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	admin := c.As(Caller{AccessID: made.AccessID, Session: "s"})
	for _, name := range []string{"read", "unread"} {
		if err := admin.CreateItem(ctx, Item{Name: name}, []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := admin.Value(ctx, "read", 0); err != nil {
		t.Fatal(err)
	}
	claims := &session.Claims{ID: "s", AccessID: made.AccessID, IssuedAt: time.Now().Unix(), Expiry: time.Now().Add(time.Hour).Unix()}
	o.away.Store(true)
	for range 2 {
		began := time.Now()
		for name, err := range map[string]error{
			"a new item":      admin.CreateItem(ctx, Item{Name: "new"}, nil),
			"a revocation":    admin.RevokeMethod(ctx, "admin"),
			"an unread value": func() error { _, _, err := admin.Value(ctx, "unread", 0); return err }(),
		} {
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("three refusals took %s", took)
		}
		if _, err := c.Live(claims, time.Now()); err != nil {
			t.Errorf("a session during the outage: %v", err)
		}
		if _, err := c.Login(ctx, made.AccessID, made.AccessKey); err != nil {
			t.Errorf("a login during the outage: %v", err)
		}
		if value, _, err := admin.Value(ctx, "read", 0); err != nil || string(value) != "v" {
			t.Errorf("a value that was read before: %v", err)
		}
		o.slow.Store(true) // and once more, with a store that hangs
	}
	o.slow.Store(false)
	o.away.Store(false)
	if err := admin.CreateItem(ctx, Item{Name: "new"}, nil); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

func TestDeclaredObjects(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	id := r.k8s("both")
	r.k8s("stored")
	cfg, err := config.Parse([]byte(`apiVersion: config.gatepass.dev/v1alpha1
kind: GatewayConfig
issuer: https://g
authMethods:
- {name: both, accessID: p-abcdefghij12km, sessionTTL: 1h, kubernetes: {audience: a, boundNamespaces: [x]}}
- {name: file, accessID: p-bbbbbbbbbb12km, kubernetes: {}}
kubernetesAuthConfigs:
- {name: own, accessID: p-abcdefghij12km, reviewer: {type: gateway}}
roles:
- name: declared
  rules: [{type: item-rule, path: "/{{namespace}}/*", capabilities: [create]}]
  associations: [{authMethod: both, subClaims: {namespace: "x,y"}}]
`))
	r.must(err)
	r.SetFile(cfg)
	m, _, err := r.admin.Method(ctx, "both")
	if err != nil || !m.FromFile || m.AccessID != "p-abcdefghij12km" || m.SessionTTL != time.Hour || m.Namespaces[0] != "x" {
		t.Errorf("%+v, %v", m, err)
	}
	if r.View().methodByID(id) != nil {
		t.Error("a hidden auth method can be used")
	}
	methods, _, err := r.admin.ListMethods(ctx, Page{})
	if err != nil || len(methods) != 4 { // admin, both, file, stored
		t.Errorf("%+v, %v", methods, err)
	}
	c, err := r.admin.AuthConfig(ctx, "own")
	if err != nil || !c.FromFile || c.Reviewer != ReviewerGateway {
		t.Errorf("%+v, %v", c, err)
	}
	for name, err := range map[string]error{
		"changing a role":         r.admin.SetRule(ctx, "declared", rule(access.ItemRule, "/a", access.Read)),
		"deleting a role":         r.admin.DeleteRole(ctx, "declared"),
		"ending an association":   r.admin.DeleteAssociation(ctx, "declared:declared/0"),
		"changing an auth method": r.admin.UpdateMethod(ctx, "file", anewMethod(Method{})),
		"deleting an auth method": r.admin.DeleteMethod(ctx, "both"),
		"changing an auth config": updateConfig(ctx, r.admin, "own", AuthConfig{Reviewer: ReviewerGateway}),
		"deleting an auth config": r.admin.DeleteAuthConfig(ctx, "own"),
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.admin.CreateMethod(ctx, Method{Name: "file", Type: TypeK8s}); !errors.Is(err, ErrExists) {
		t.Errorf("a name of the file: %v", err)
	}
	in := func(namespace string) Accessor {
		return r.As(Caller{AccessID: "p-abcdefghij12km", SubClaims: map[string][]string{"namespace": {namespace}}})
	}
	if err := in("x").CreateItem(ctx, Item{Name: "x/a"}, nil); err != nil {
		t.Errorf("a role of the file: %v", err)
	}
	if err := in("z").CreateItem(ctx, Item{Name: "z/a"}, nil); !errors.Is(err, ErrDenied) {
		t.Errorf("a role of the file under other sub-claims: %v", err)
	}
	if role, err := r.admin.Role(ctx, "declared"); err != nil || !role.FromFile || len(role.Associations) != 1 || role.Associations[0].Method != "both" {
		t.Errorf("%+v, %v", role, err)
	}
	// What the file declares can be given roles, and more auth configs.
	r.must(r.admin.CreateRole(ctx, Role{Name: "r", Rules: []access.Rule{rule(access.ItemRule, "/*", access.List)}}))
	if _, err := r.admin.Associate(ctx, Association{Role: "r", Method: "file"}); err != nil {
		t.Error(err)
	}
	if _, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "more", AccessID: "p-bbbbbbbbbb12km", Reviewer: ReviewerGateway}); err != nil {
		t.Error(err)
	}
	if _, _, _, err := r.As(Caller{AccessID: "p-bbbbbbbbbb12km"}).ListItems(ctx, "/", Page{}); err != nil {
		t.Error(err)
	}
	r.SetFile(&config.Config{})
	if m, _, err := r.admin.Method(ctx, "both"); err != nil || m.AccessID != id {
		t.Errorf("what was hidden does not come back: %+v, %v", m, err)
	}
}

func TestResetAdministrator(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.must(r.admin.UpdateMethod(ctx, "admin", anewMethod(Method{Expires: time.Now().Add(-time.Hour)})))
	made, err := r.ResetAdministrator(ctx)
	r.must(err)
	until(t, "the new administrator", func() bool {
		_, err := r.Login(ctx, made.AccessID, made.AccessKey)
		return err == nil
	})
	if r.View().methodByID(r.root.AccessID) != nil {
		t.Error("the old access id is still there")
	}
	if _, _, err := r.admin.ListRoles(ctx, Page{}); err != nil {
		t.Error(err)
	}
	if roles, _, _ := r.admin.ListRoles(ctx, Page{}); len(roles) != 0 {
		t.Error("the old administrator's session may do something")
	}
	if err := r.As(Caller{AccessID: made.AccessID}).CreateRole(ctx, Role{Name: "r"}); err != nil {
		t.Errorf("the new administrator: %v", err)
	}
}
