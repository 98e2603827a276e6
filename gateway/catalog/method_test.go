package catalog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/session"
)

func TestMethods(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	full := Method{
		Name: "/team/k8s", Type: TypeK8s, Description: "d", Expires: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		SessionTTL: time.Hour, SessionMaxTTL: 2 * time.Hour, BoundIPs: []string{"10.0.0.0/8"}, GatewayBoundIPs: []string{"1.2.3.4/32"},
		ForceSubClaims: true, Audience: "gatepass", Namespaces: []string{"a", "b-*"}, PodNames: []string{"p"}, ServiceAccounts: []string{"s"}, GeneratedKey: true,
	}
	made, err := r.admin.CreateMethod(ctx, full)
	if err != nil || made.Name != "team/k8s" || made.AccessKey != "" || !strings.Contains(string(made.PrivateKey), "PRIVATE KEY") {
		t.Fatalf("%+v, %v", made, err)
	}
	if id := made.AccessID; len(id) != 16 || !strings.HasPrefix(id, "p-") || id[len(id)-2] != 'k' {
		t.Errorf("access id %s", id)
	}
	got, associations, err := r.admin.Method(ctx, "team/k8s")
	if err != nil || len(associations) != 0 || got.AccessID != made.AccessID || got.SessionTTL != time.Hour || got.SessionMaxTTL != 2*time.Hour ||
		!got.Expires.Equal(full.Expires) || fmt.Sprint(got.Namespaces, got.PodNames, got.ServiceAccounts, got.BoundIPs) != "[a b-*] [p] [s] [10.0.0.0/8]" ||
		!got.ForceSubClaims || !got.GeneratedKey || got.PublicKey == "" || got.FromFile {
		t.Errorf("%+v, %v", got, err)
	}
	logins, err := r.Logins(ctx)
	r.must(err)
	if len(logins.Methods) != 2 {
		t.Fatalf("logins %+v", logins)
	}
	for _, m := range logins.Methods {
		if m.AccessID == made.AccessID && (m.BoundIPs[0] != netip.MustParsePrefix("10.0.0.0/8") || m.SessionTTL != time.Hour) {
			t.Errorf("rules %+v", m)
		}
	}
	private, err := keys.Parse(made.PrivateKey)
	r.must(err)
	if public, err := encodePublicKey(private.Public()); err != nil || public != got.PublicKey {
		t.Errorf("the key that was told is not the private half of the method's: %v", err)
	}

	r.must(r.admin.UpdateMethod(ctx, "team/k8s", anewMethod(Method{Name: "team/renamed", Namespaces: []string{"only"}})))
	got, _, err = r.admin.Method(ctx, "team/renamed")
	if err != nil || got.AccessID != made.AccessID || fmt.Sprint(got.Namespaces) != "[only]" || got.SessionTTL != 0 || got.PublicKey == "" || !got.GeneratedKey {
		t.Errorf("%+v, %v", got, err)
	}
	if _, _, err := r.admin.Method(ctx, "team/k8s"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old name: %v", err)
	}
	if r.View().methodByID(made.AccessID).name != "team/renamed" {
		t.Error("the access id is of another method")
	}
	r.k8s("other")
	if err := r.admin.UpdateMethod(ctx, "other", anewMethod(Method{Name: "team/renamed"})); !errors.Is(err, ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	r.must(r.admin.DeleteMethod(ctx, "team/renamed"))
	if logins, err = r.Logins(ctx); err != nil || len(logins.Methods) != 2 {
		t.Errorf("a deleted method lets in, %v", err)
	}
}

func TestMethodsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	weak, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	r.must(err)
	curve, err := encodePublicKey(weak.Public())
	r.must(err)
	_, public, err := generateKey()
	r.must(err)
	for name, m := range map[string]Method{
		"no type":                        {},
		"an unknown type":                {Type: "saml2"},
		"a life that is too short":       {Type: TypeK8s, SessionTTL: time.Second},
		"a life that is too long":        {Type: TypeK8s, SessionTTL: 25 * time.Hour},
		"a longest life beyond a day":    {Type: TypeK8s, SessionMaxTTL: 25 * time.Hour},
		"half a second":                  {Type: TypeK8s, SessionTTL: 30500 * time.Millisecond},
		"an address that is none":        {Type: TypeK8s, BoundIPs: []string{"10.0.0.0/33"}},
		"namespaces with a comma":        {Type: TypeK8s, Namespaces: []string{"a,b"}},
		"an empty name":                  {Type: TypeK8s, PodNames: []string{""}},
		"bound names of an access key":   {Type: TypeAccessKey, Namespaces: []string{"a"}},
		"a public key of an access key":  {Type: TypeAccessKey, PublicKey: "x"},
		"a public key that is none":      {Type: TypeK8s, PublicKey: "x"},
		"a public key of another curve":  {Type: TypeK8s, PublicKey: curve},
		"two keys":                       {Type: TypeK8s, PublicKey: public, GeneratedKey: true},
		"an audience with a blank":       {Type: TypeK8s, Audience: " a"},
		"a description that is too long": {Type: TypeK8s, Description: strings.Repeat("x", maxDescription+1)},
	} {
		m.Name = "m"
		if _, err := r.admin.CreateMethod(ctx, m); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.admin.CreateMethod(ctx, Method{Name: "m", Type: TypeK8s, AuthConfigs: []string{"missing"}}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an auth config that is not there: %v", err)
	}
	if err := r.admin.UpdateMethod(ctx, "admin", anewMethod(Method{Type: TypeK8s})); !errors.Is(err, ErrInvalid) {
		t.Errorf("another type: %v", err)
	}
	for name, err := range map[string]error{
		"renaming the administrator": r.admin.UpdateMethod(ctx, "admin", anewMethod(Method{Name: "root"})),
		"deleting the administrator": r.admin.DeleteMethod(ctx, "admin"),
		"the built-in role":          r.admin.DeleteRole(ctx, "admin"),
		"the built-in association":   r.admin.DeleteAssociation(ctx, "admin"),
	} {
		if !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrInUse) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAccessKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	made, err := r.admin.CreateMethod(ctx, Method{Name: "ci", Type: TypeAccessKey, BoundIPs: []string{"192.0.2.0/24"}})
	if err != nil || made.PrivateKey != nil || len(made.AccessKey) != 43 || made.AccessID[len(made.AccessID)-2] != 'a' {
		t.Fatalf("%+v, %v", made, err)
	}
	other := r.k8s("k8s")
	login := func(id, key string) error {
		m, err := r.Login(ctx, id, key)
		if err == nil && (m.AccessID != id || m.SessionTTL != 15*time.Minute || len(m.BoundIPs) != 1) {
			t.Errorf("method %+v", m)
		}
		return err
	}
	r.must(login(made.AccessID, made.AccessKey))
	for name, err := range map[string]error{
		"no key":                  login(made.AccessID, ""),
		"a wrong key":             login(made.AccessID, made.AccessKey+"x"),
		"the administrator's id":  login(r.root.AccessID, made.AccessKey),
		"an id that is not there": login("p-nnnnnnnnnnnnan", made.AccessKey),
		"a method without a key":  login(other, ""),
	} {
		if !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rotated, err := r.admin.RotateAccessKey(ctx, "ci")
	r.must(err)
	r.must(login(made.AccessID, rotated))
	if err := login(made.AccessID, made.AccessKey); !errors.Is(err, ErrDenied) {
		t.Errorf("the key before: %v", err)
	}
	if _, err := r.admin.RotateAccessKey(ctx, "k8s"); !errors.Is(err, ErrInvalid) {
		t.Errorf("rotating a key that is not there: %v", err)
	}
}

func TestDisabledMethod(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	id := r.k8s("m")
	claims := &session.Claims{ID: "s", AccessID: id, IssuedAt: time.Now().Unix(), Expiry: time.Now().Add(time.Hour).Unix()}
	if _, err := r.Live(claims, time.Now()); err != nil {
		t.Fatal(err)
	}
	r.must(r.admin.UpdateMethod(ctx, "m", anewMethod(Method{Expires: time.Now().Add(-time.Minute)})))
	if _, err := r.Live(claims, time.Now()); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("a session of a method that was switched off: %v", err)
	}
}

func TestRolesAndAssociations(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.k8s("m")
	r.must(r.admin.CreateRole(ctx, Role{Name: "/r", Description: "d"}))
	for _, rl := range []access.Rule{
		rule(access.ItemRule, "a", access.Read), rule(access.ItemRule, "/a", access.List), rule(access.RoleRule, "/a", access.Read),
		rule(access.ItemRule, "/{{namespace}}/*", access.Read, access.Update),
	} {
		r.must(r.admin.SetRule(ctx, "r", rl))
	}
	got, err := r.admin.Role(ctx, "r")
	if err != nil || len(got.Rules) != 3 || fmt.Sprint(got.Rules[0]) != "{item-rule /a [list]}" {
		t.Fatalf("%+v, %v", got, err)
	}
	r.must(r.admin.DeleteRule(ctx, "r", access.RoleRule, "a"))
	for name, err := range map[string]error{
		"a rule without capabilities": r.admin.SetRule(ctx, "r", rule(access.ItemRule, "/b")),
		"a rule of an unknown type":   r.admin.SetRule(ctx, "r", rule("target-rule", "/b", access.Read)),
		"an unknown capability":       r.admin.SetRule(ctx, "r", rule(access.ItemRule, "/b", "own")),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.admin.DeleteRule(ctx, "r", access.RoleRule, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleting a rule that is gone: %v", err)
	}
	a := Association{Role: "r", Method: "m", SubClaims: map[string]string{"namespace": "x,y"}, CaseSensitive: true}
	id, err := r.admin.Associate(ctx, a)
	r.must(err)
	if _, err := r.admin.Associate(ctx, a); !errors.Is(err, ErrExists) {
		t.Errorf("the same association again: %v", err)
	}
	r.must(r.admin.UpdateRole(ctx, "r", anewRole("renamed", "new")))
	got, err = r.admin.Role(ctx, "renamed")
	if err != nil || got.Description != "new" || len(got.Associations) != 1 || got.Associations[0].ID != id || got.Associations[0].Method != "m" {
		t.Errorf("%+v, %v", got, err)
	}
	who := r.As(Caller{AccessID: r.View().method("m").AccessID, SubClaims: map[string][]string{"namespace": {"x"}}})
	r.must(r.admin.CreateItem(ctx, Item{Name: "x/secret"}, []byte("v")))
	if _, _, err := who.Value(ctx, "/x/secret", 0); err != nil {
		t.Error(err)
	}
	if may, err := who.Permissions(ctx, access.ItemRule, "/x/other"); err != nil || fmt.Sprint(may) != "[read update list]" {
		t.Errorf("permissions %v, %v", may, err)
	}
	r.must(r.admin.UpdateAssociation(ctx, id, anewAssociation(map[string]string{"namespace": "y"}, true)))
	if _, _, err := who.Value(ctx, "/x/secret", 0); !errors.Is(err, ErrDenied) {
		t.Errorf("after the sub-claims have changed: %v", err)
	}
	r.must(r.admin.UpdateMethod(ctx, "m", anewMethod(Method{ForceSubClaims: true})))
	if _, err := r.admin.Associate(ctx, Association{Role: "renamed", Method: "m"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an association without sub-claims where they are asked for: %v", err)
	}
	for n := range 300 {
		_, err := r.admin.Associate(ctx, Association{Role: "renamed", Method: "m", SubClaims: map[string]string{"n": strconv.Itoa(n)}})
		r.must(err)
	}
	r.must(r.admin.DeleteRole(ctx, "renamed"))
	if n := r.View().associations.len(); n != 0 {
		t.Errorf("%d associations are left of a deleted role", n)
	}
}
