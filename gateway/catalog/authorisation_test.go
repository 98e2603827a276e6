package catalog

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/audit"
)

// attempt is an operation on an object, and what it takes.
type attempt struct {
	name  string
	of    access.RuleType
	needs access.Capability
	// on is what do works on; "missing" in its place is not there.
	on string
	do func(ctx context.Context, as Accessor, on string) error
}

func attempts() []attempt {
	return []attempt{
		{"reading an item", access.ItemRule, access.Read, "x/item", func(ctx context.Context, as Accessor, on string) error {
			_, err := as.Item(ctx, on)
			return err
		}},
		{"reading a value", access.ItemRule, access.Read, "x/item", func(ctx context.Context, as Accessor, on string) error {
			_, _, err := as.Value(ctx, on, 0)
			return err
		}},
		{"writing a value", access.ItemRule, access.Update, "x/item", func(ctx context.Context, as Accessor, on string) error {
			_, err := as.SetValue(ctx, on, []byte("new"), -1)
			return err
		}},
		{"describing an item anew", access.ItemRule, access.Update, "x/item", func(ctx context.Context, as Accessor, on string) error {
			return as.UpdateItem(ctx, on, anewItem("", "new", nil))
		}},
		{"deleting an item", access.ItemRule, access.Delete, "x/item", func(ctx context.Context, as Accessor, on string) error {
			return as.DeleteItem(ctx, on)
		}},
		{"reading an auth method", access.AuthMethodRule, access.Read, "x/method", func(ctx context.Context, as Accessor, on string) error {
			_, _, err := as.Method(ctx, on)
			return err
		}},
		{"changing an auth method", access.AuthMethodRule, access.Update, "x/method", func(ctx context.Context, as Accessor, on string) error {
			return as.UpdateMethod(ctx, on, anewMethod(Method{Namespaces: []string{"a"}}))
		}},
		{"deleting an auth method", access.AuthMethodRule, access.Delete, "x/method", func(ctx context.Context, as Accessor, on string) error {
			return as.DeleteMethod(ctx, on)
		}},
		{"revoking an auth method's sessions", access.AuthMethodRule, access.Update, "x/method", func(ctx context.Context, as Accessor, on string) error {
			return as.RevokeMethod(ctx, on)
		}},
		{"revoking an identity's sessions", access.AuthMethodRule, access.Update, "x/method", func(ctx context.Context, as Accessor, on string) error {
			return as.RevokeIdentity(ctx, on, "somebody")
		}},
		{"rotating an access key", access.AuthMethodRule, access.Update, "x/key", func(ctx context.Context, as Accessor, on string) error {
			_, err := as.RotateAccessKey(ctx, on)
			return err
		}},
		{"reading an auth config", access.AuthMethodRule, access.Read, "x/config", func(ctx context.Context, as Accessor, on string) error {
			_, err := as.AuthConfig(ctx, on)
			return err
		}},
		{"changing an auth config", access.AuthMethodRule, access.Update, "x/config", func(ctx context.Context, as Accessor, on string) error {
			return updateConfig(ctx, as, on, AuthConfig{Name: on, Reviewer: ReviewerGateway})
		}},
		{"deleting an auth config", access.AuthMethodRule, access.Update, "x/config", func(ctx context.Context, as Accessor, on string) error {
			return as.DeleteAuthConfig(ctx, on)
		}},
		{"reading a role", access.RoleRule, access.Read, "x/role", func(ctx context.Context, as Accessor, on string) error {
			_, err := as.Role(ctx, on)
			return err
		}},
		{"describing a role anew", access.RoleRule, access.Update, "x/role", func(ctx context.Context, as Accessor, on string) error {
			return as.UpdateRole(ctx, on, anewRole("", "new"))
		}},
		{"setting a rule", access.RoleRule, access.Update, "x/role", func(ctx context.Context, as Accessor, on string) error {
			return as.SetRule(ctx, on, rule(access.ItemRule, "/new", access.Read))
		}},
		{"deleting a rule", access.RoleRule, access.Update, "x/role", func(ctx context.Context, as Accessor, on string) error {
			return as.DeleteRule(ctx, on, access.ItemRule, "/old")
		}},
		{"deleting a role", access.RoleRule, access.Delete, "x/role", func(ctx context.Context, as Accessor, on string) error {
			return as.DeleteRole(ctx, on)
		}},
	}
}

// furnish makes the objects of attempts.
func furnish(r *rig) {
	ctx := r.t.Context()
	r.must(r.admin.CreateItem(ctx, Item{Name: "x/item"}, []byte("value")))
	r.k8s("x/method")
	_, err := r.admin.CreateMethod(ctx, Method{Name: "x/key", Type: TypeAccessKey})
	r.must(err)
	_, err = r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "x/config", Reviewer: ReviewerGateway})
	r.must(err)
	r.must(r.admin.CreateRole(ctx, Role{Name: "x/role", Rules: []access.Rule{rule(access.ItemRule, "/old", access.Read)}}))
}

func TestAuthorisation(t *testing.T) {
	t.Parallel()
	for _, a := range attempts() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			furnish(r)
			others := []access.Capability{}
			for _, c := range []access.Capability{access.Read, access.Create, access.Update, access.Delete} {
				if c != a.needs {
					others = append(others, c)
				}
			}
			for _, tt := range []struct {
				name string
				as   Accessor
				on   string
				want error
			}{
				{"a stranger is not told that it is there", r.with("nobody"), a.on, ErrDenied},
				{"a stranger is not told that it is not there", r.with("nobody2"), "missing", ErrDenied},
				{"nor is who may do everything elsewhere", r.with("elsewhere", rule(a.of, "/y/*", a.needs)), a.on, ErrDenied},
				{"nor is who is denied", r.with("denied", rule(a.of, "/*", a.needs), rule(a.of, "/x/*", access.Deny)), a.on, ErrDenied},
				{"who may do everything else may not", r.with("other", rule(a.of, "/*", others...)), a.on, ErrDenied},
				{"who may do everything else learns that it is not there", r.with("other2", rule(a.of, "/*", others...)), "missing", ErrNotFound},
				{"who may learns that it is not there", r.with("may", rule(a.of, "/*", a.needs)), "missing", ErrNotFound},
				{"who may, may", r.with("may2", rule(a.of, "/x/*", a.needs)), a.on, nil},
			} {
				before := r.log.len()
				err := a.do(t.Context(), tt.as, tt.on)
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
				}
				lines := r.log.since(before)
				if len(lines) != 1 || lines[0].Object != tt.on || (lines[0].Result == audit.Granted) != (tt.want == nil) || lines[0].Session == "" {
					t.Errorf("%s: the audit log has %+v", tt.name, lines)
				}
			}
		})
	}
}

func TestAuthorisationOfCreation(t *testing.T) {
	t.Parallel()
	creations := map[string]struct {
		of access.RuleType
		do func(ctx context.Context, as Accessor, name string) error
	}{
		"an item": {access.ItemRule, func(ctx context.Context, as Accessor, name string) error {
			return as.CreateItem(ctx, Item{Name: name}, []byte("v"))
		}},
		"an auth method": {access.AuthMethodRule, func(ctx context.Context, as Accessor, name string) error {
			_, err := as.CreateMethod(ctx, Method{Name: name, Type: TypeK8s})
			return err
		}},
		"a role": {access.RoleRule, func(ctx context.Context, as Accessor, name string) error {
			return as.CreateRole(ctx, Role{Name: name})
		}},
	}
	for what, c := range creations {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			ctx := t.Context()
			r.must(c.do(ctx, r.admin, "x/there"))
			reader := r.with("reader", rule(c.of, "/*", access.Read, access.Update, access.Delete))
			maker := r.with("maker", rule(c.of, "/x/*", access.Create))
			for _, tt := range []struct {
				as   Accessor
				name string
				want error
			}{
				{reader, "x/new", ErrDenied}, {reader, "x/there", ErrDenied},
				{maker, "x/there", ErrExists}, {maker, "y/new", ErrDenied}, {maker, "x/new", nil}, {maker, "/x/new", ErrExists},
				{maker, "", ErrInvalid}, {maker, "x//y", ErrInvalid}, {maker, "x/*", ErrInvalid},
			} {
				if err := c.do(ctx, tt.as, tt.name); !errors.Is(err, tt.want) {
					t.Errorf("%q: %v, want %v", tt.name, err, tt.want)
				}
			}
		})
	}
}

func TestAuthorisationAcrossObjects(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	furnish(r)
	ctx := t.Context()
	id := r.k8s("team/method")
	r.must(r.admin.CreateRole(ctx, Role{Name: "team/role"}))
	ass, err := r.admin.Associate(ctx, Association{Role: "team/role", Method: "team/method"})
	r.must(err)
	_, err = r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "team-config", AccessID: id, Reviewer: ReviewerGateway})
	r.must(err)
	onRole := rule(access.RoleRule, "/team/*", access.Update)
	onMethod := rule(access.AuthMethodRule, "/team/*", access.Update, access.Read)
	both, roleOnly, methodOnly := r.with("both", onRole, onMethod), r.with("roleOnly", onRole), r.with("methodOnly", onMethod)
	nobody := r.with("nobody")
	associate := func(as Accessor) error {
		_, err := as.Associate(ctx, Association{Role: "team/role", Method: "team/method", SubClaims: map[string]string{"a": strconv.FormatInt(time.Now().UnixNano(), 10)}})
		return err
	}
	update := func(as Accessor) error {
		return as.UpdateAssociation(ctx, ass, anewAssociation(map[string]string{"b": strconv.FormatInt(time.Now().UnixNano(), 10)}, false))
	}
	config := func(as Accessor) error {
		_, err := as.AuthConfig(ctx, "team-config")
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"associating needs the role", associate(methodOnly), ErrDenied},
		{"associating needs the auth method", associate(roleOnly), ErrDenied},
		{"both may associate", associate(both), nil},
		{"changing an association needs the auth method", update(roleOnly), ErrDenied},
		{"who may not know of the role can't tell an association from none", update(methodOnly), ErrNotFound},
		{"nor when there is none", methodOnly.UpdateAssociation(ctx, "ass-x", anewAssociation(nil, false)), ErrNotFound},
		{"both may change one", update(both), nil},
		{"a stranger can't delete an association", nobody.DeleteAssociation(ctx, ass), ErrNotFound},
		{"an auth config is its auth method's", config(methodOnly), nil},
		{"and nobody else's", config(roleOnly), ErrDenied},
		{"renaming needs the right to create", methodOnly.UpdateMethod(ctx, "team/method", anewMethod(Method{Name: "team/other"})), ErrDenied},
		{"settings are the administrator's", both.UpdateSettings(ctx, Settings{SessionTTL: time.Hour}), ErrDenied},
		{"an association is its role's to delete", roleOnly.DeleteAssociation(ctx, ass), nil},
	} {
		if !errors.Is(tt.err, tt.want) || (tt.err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	if _, err := nobody.Settings(ctx); err != nil {
		t.Errorf("everybody may read the settings: %v", err)
	}
}

func TestListsTellWhatMayBeKnown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	furnish(r)
	ctx := t.Context()
	for _, name := range []string{"x/a/1", "x/a/2", "x/b", "y/c", "z"} {
		r.must(r.admin.CreateItem(ctx, Item{Name: name}, nil))
	}
	some := r.with("some", rule(access.ItemRule, "/x/a/*", access.List), rule(access.ItemRule, "/y/+", access.Read), rule(access.ItemRule, "/y/d", access.Deny),
		rule(access.RoleRule, "/x/*", access.List), rule(access.AuthMethodRule, "/x/key", access.List))
	items, folders, next, err := some.ListItems(ctx, "/", Page{})
	if err != nil || next != "" || len(items) != 3 || items[0].Name != "/x/a/1" || items[2].Name != "/y/c" || fmt.Sprint(folders) != "[/x /y]" {
		t.Errorf("items %v, folders %v, %v", items, folders, err)
	}
	roles, _, err := some.ListRoles(ctx, Page{})
	if err != nil || len(roles) != 1 || roles[0].Name != "x/role" {
		t.Errorf("roles %v, %v", roles, err)
	}
	methods, _, err := some.ListMethods(ctx, Page{})
	if err != nil || len(methods) != 1 || methods[0].Name != "x/key" {
		t.Errorf("auth methods %v, %v", methods, err)
	}
	configs, err := some.ListAuthConfigs(ctx)
	if err != nil || len(configs) != 0 {
		t.Errorf("auth configs %v, %v", configs, err)
	}
}

func TestNothingHappensUnrecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	furnish(r)
	r.log.fail(true)
	ctx := t.Context()
	for _, a := range attempts() {
		if err := a.do(ctx, r.admin, a.on); !errors.Is(err, ErrUnrecorded) {
			t.Errorf("%s: %v", a.name, err)
		}
	}
	r.log.fail(false)
	if value, n, err := r.admin.Value(ctx, "x/item", 0); err != nil || string(value) != "value" || n != 1 {
		t.Errorf("an unrecorded write has happened: %q, version %d, %v", value, n, err)
	}
}

func TestAdministratorsMethod(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.must(r.admin.CreateRole(t.Context(), Role{Name: "nothing"}))
	all := []access.Capability{access.Read, access.Create, access.Update, access.Delete}
	methods := r.with("methods", rule(access.AuthMethodRule, "/*", all...), rule(access.RoleRule, "/nothing", access.Update))
	deputy := r.with("deputy", rule(access.AuthMethodRule, "/*", all...), rule(access.RoleRule, "/admin", access.Update))
	for _, tt := range []struct {
		name string
		do   func(as Accessor) error
		// deputy is what happens to who may also change the role admin.
		deputy error
	}{
		{"a new access key", func(as Accessor) error {
			_, err := as.RotateAccessKey(t.Context(), "admin")
			return err
		}, nil},
		{"a change", func(as Accessor) error {
			return as.UpdateMethod(t.Context(), "admin", anewMethod(Method{}))
		}, nil},
		{"the end of its sessions", func(as Accessor) error { return as.RevokeMethod(t.Context(), "admin") }, nil},
		{"the end of its subject's sessions", func(as Accessor) error {
			return as.RevokeIdentity(t.Context(), "admin", r.root.Subject)
		}, nil},
		{"its deletion", func(as Accessor) error { return as.DeleteMethod(t.Context(), "admin") }, ErrInUse},
		{"a role for it", func(as Accessor) error {
			_, err := as.Associate(t.Context(), Association{Role: "nothing", Method: "admin"})
			return err
		}, ErrDenied}, // the deputy may not change that role
	} {
		if err := tt.do(methods); !errors.Is(err, ErrDenied) {
			t.Errorf("%s by who may change all auth methods: %v, want it refused", tt.name, err)
		}
		if err := tt.do(deputy); !errors.Is(err, tt.deputy) {
			t.Errorf("%s by who may change the role admin as well: %v, want %v", tt.name, err, tt.deputy)
		}
	}
	if _, _, err := methods.Method(t.Context(), "admin"); err != nil {
		t.Errorf("reading it: %v", err)
	}
}

// What somebody may know of one object does not tell of others.
func TestOthersObjects(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.k8s("mine")
	hidden := r.k8s("secret/prod")
	_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "mine", Host: "https://a", Reviewer: ReviewerSelf})
	r.must(err)
	_, err = r.admin.CreateMethod(ctx, Method{Name: "secret/user", Type: TypeK8s, AuthConfigs: []string{"mine"}})
	r.must(err)
	r.must(r.admin.CreateRole(ctx, Role{Name: "web"}))
	for _, method := range []string{"mine", "secret/prod"} {
		_, err = r.admin.Associate(ctx, Association{Role: "web", Method: method})
		r.must(err)
	}
	all := []access.Capability{access.Read, access.Create, access.Update, access.Delete}
	some := r.with("some", rule(access.AuthMethodRule, "/mine", all...), rule(access.AuthMethodRule, "/new", all...), rule(access.RoleRule, "/web", access.Read))

	role, err := some.Role(ctx, "web")
	if err != nil || len(role.Associations) != 1 || role.Associations[0].Method != "mine" {
		t.Errorf("a role tells of %+v, %v", role.Associations, err)
	}
	for name, err := range map[string]error{
		"deleting": some.DeleteAuthConfig(ctx, "mine"),
		"renaming": updateConfig(ctx, some, "mine", AuthConfig{Name: "new", Host: "https://a", Reviewer: ReviewerSelf}),
	} {
		if !errors.Is(err, ErrInUse) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s an auth config that is in use: %v", name, err)
		}
	}
	var answers []string
	for _, id := range []string{hidden, "p-aaaaaaaaaaaakm"} {
		_, err := some.CreateAuthConfig(ctx, AuthConfig{Name: "new", AccessID: id, Reviewer: ReviewerSelf})
		if !errors.Is(err, ErrDenied) {
			t.Errorf("an auth config of access id %s: %v", id, err)
			continue
		}
		answers = append(answers, strings.ReplaceAll(err.Error(), id, "ID"))
	}
	if len(answers) == 2 && answers[0] != answers[1] {
		t.Errorf("an access id that exists, and one that doesn't: %q", answers)
	}
}

func TestListsWithoutRead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	made, err := r.admin.CreateMethod(ctx, Method{Name: "m", Type: TypeK8s, Description: "plan", Namespaces: []string{"n"}, BoundIPs: []string{"10.1.2.3"}})
	r.must(err)
	config, err := r.admin.CreateAuthConfig(ctx, AuthConfig{Name: "c", AccessID: made.AccessID, Host: "https://internal", Reviewer: ReviewerSelf})
	r.must(err)
	r.must(r.admin.CreateRole(ctx, Role{Name: "r", Description: "plan", Rules: []access.Rule{rule(access.ItemRule, "/prod/*", access.Read)}}))
	for _, tt := range []struct {
		name string
		may  access.Capability
		all  bool
	}{
		{"who may list gets names and ids", access.List, false},
		{"who may change, too", access.Update, false},
		{"who may read gets everything", access.Read, true},
	} {
		as := r.with(string(tt.may), rule(access.AuthMethodRule, "/m", tt.may), rule(access.RoleRule, "/r", tt.may))
		methods, _, err := as.ListMethods(ctx, Page{})
		r.must(err)
		configs, err := as.ListAuthConfigs(ctx)
		r.must(err)
		roles, _, err := as.ListRoles(ctx, Page{})
		r.must(err)
		if len(methods) != 1 || len(configs) != 1 || len(roles) != 1 {
			t.Fatalf("%s: %+v %+v %+v", tt.name, methods, configs, roles)
		}
		if tt.all {
			if methods[0].Description == "" || len(methods[0].Namespaces) == 0 || configs[0].Host == "" || len(roles[0].Rules) == 0 {
				t.Errorf("%s: %+v %+v %+v", tt.name, methods, configs, roles)
			}
			continue
		}
		if want := (Method{Name: "m", AccessID: made.AccessID, Type: TypeK8s, Listed: true}); !reflect.DeepEqual(methods[0], want) {
			t.Errorf("%s: %+v", tt.name, methods[0])
		}
		if want := (AuthConfig{ID: config.ID, Name: "c", AccessID: made.AccessID}); !reflect.DeepEqual(configs[0], want) {
			t.Errorf("%s: %+v", tt.name, configs[0])
		}
		if want := (Role{Name: "r"}); !reflect.DeepEqual(roles[0], want) {
			t.Errorf("%s: %+v", tt.name, roles[0])
		}
	}
}
