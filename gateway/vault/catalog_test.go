package vault

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// ledger is an audit log in memory.
type ledger struct {
	mu     sync.Mutex
	events []string // what and how it ended
}

func (l *ledger) Write(e *audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e.Event+" "+string(e.Result))
	return nil
}

// take returns the events and forgets them.
func (l *ledger) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.events
	l.events = nil
	return taken
}

// withCatalog gives the rig a catalog, and its session to the administrator, who
// is also returned.
func (r *rig) withCatalog(t testing.TB) (catalog.Accessor, *ledger) {
	t.Helper()
	file, err := bolt.Open(bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.CreateFile(key); err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(seal.Options{File: key, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	written := &ledger{}
	c, err := catalog.New(catalog.Options{Store: file, Seal: sealer, Audit: written, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	for c.Ready() != nil {
		if t.Context().Err() != nil {
			t.Fatal(c.Ready())
		}
	}
	admin, err := c.Bootstrap(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.session.Claims.AccessID = admin.AccessID
	r.options.As = c.As
	written.take()
	return c.As(catalog.Caller{AccessID: admin.AccessID}), written
}

func TestListsOfManyPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	admin, written := r.withCatalog(t)
	r.listPage = 3
	for _, name := range []string{
		"a/1", "a/2", "a/3", "a/4", "a/5/6", "a/7", "a/8", // more than two pages in one folder
		"a", "a-", "a.b", "a0", "b", "b/c/1", "b/c/2", "b/c/3", "b/d", "c/x", "z",
	} {
		if err := admin.CreateItem(t.Context(), catalog.Item{Name: name}, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for folder, want := range map[string][]any{
		"":     {"a", "a-", "a.b", "a/", "a0", "b", "b/", "c/", "z"},
		"a":    {"1", "2", "3", "4", "5/", "7", "8"},
		"a/":   {"1", "2", "3", "4", "5/", "7", "8"},
		"b":    {"c/", "d"},
		"b/c/": {"1", "2", "3"},
	} {
		for _, ask := range [][2]string{{"LIST", ""}, {"GET", "?list=true"}} {
			got := r.do(t, ask[0], "/v1/secret/metadata/"+folder+ask[1], "")
			if diff := cmp.Diff(want, got.Data["keys"]); got.status != 200 || diff != "" {
				t.Errorf("%s %q: %d %s", ask[0], folder, got.status, diff)
			}
		}
	}
	for _, folder := range []string{"none", "z", "a/5/6"} {
		if got := r.do(t, "LIST", "/v1/secret/metadata/"+folder, ""); got.status != 404 || len(*got.Errors) != 0 {
			t.Errorf("%q: %d %s", folder, got.status, got.text)
		}
	}
	if got := r.do(t, "LIST", "/v1/secret/metadata/a//b", ""); got.status != 400 {
		t.Errorf("a folder that can't be: %d %s", got.status, got.text)
	}
	written.take()
	r.do(t, "LIST", "/v1/secret/metadata/", "")
	// a to a.b; a/ (and on behind it); a0 to b; b/; c/ and z.
	if events := written.take(); len(events) > 7 {
		t.Errorf("the list took %d looks: %q", len(events), events)
	}
}

// What the audit log says of one write must be what was asked, and not what was
// tried.
func TestWritesAreRecordedAsTheyAre(t *testing.T) {
	t.Parallel()
	const body = `{"data":{"value":"x"}}`
	for _, tt := range []struct {
		name         string
		capabilities []access.Capability
		exists       bool
		status       int
		events       []string
	}{
		{name: "a creator creates", capabilities: []access.Capability{access.Create}, status: 200, events: []string{"item-create granted"}},
		{name: "a creator changes nothing", capabilities: []access.Capability{access.Create}, exists: true, status: 403, events: []string{"item-create denied"}},
		{name: "an updater changes", capabilities: []access.Capability{access.Update}, exists: true, status: 200, events: []string{"value-write granted"}},
		{name: "an updater finds nothing to change", capabilities: []access.Capability{access.Update}, status: 404, events: []string{"value-write denied"}},
		{name: "a reader writes nothing", capabilities: []access.Capability{access.Read}, exists: true, status: 403, events: []string{"value-write denied"}},
		{name: "who may do all creates", capabilities: []access.Capability{access.Create, access.Update, access.Read}, status: 200, events: []string{"value-write denied", "item-create granted", "item-read granted"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			admin, written := r.withCatalog(t)
			if tt.exists {
				if err := admin.CreateItem(t.Context(), catalog.Item{Name: "a"}, []byte("old")); err != nil {
					t.Fatal(err)
				}
			}
			r.session.Claims.AccessID = caller(t, admin, tt.capabilities...)
			written.take()
			got := r.do(t, "POST", "/v1/secret/data/a", body)
			events := slices.DeleteFunc(written.take(), func(e string) bool { return e == "permissions-read granted" })
			if diff := cmp.Diff(tt.events, events); got.status != tt.status || diff != "" {
				t.Errorf("%d %s; events %s", got.status, got.text, diff)
			}
		})
	}
}

// In Vault, an item that is gone may be deleted again.
func TestDeletingWhatIsNotThere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	admin, written := r.withCatalog(t)
	if err := admin.CreateItem(t.Context(), catalog.Item{Name: "a"}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	written.take()
	for range 2 {
		if got := r.do(t, "DELETE", "/v1/secret/metadata/a", ""); got.status != http.StatusNoContent {
			t.Errorf("%d %s", got.status, got.text)
		}
	}
	if diff := cmp.Diff([]string{"item-delete granted", "item-delete denied"}, written.take()); diff != "" {
		t.Error(diff)
	}
	if err := admin.CreateItem(t.Context(), catalog.Item{Name: "a"}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	r.session.Claims.AccessID = caller(t, admin, access.Read)
	if got := r.do(t, "DELETE", "/v1/secret/metadata/a", ""); got.status != http.StatusForbidden {
		t.Errorf("who may not: %d %s", got.status, got.text)
	}
}

// caller makes an auth method whose sessions may do things to all items, and
// returns its access id.
func caller(t testing.TB, admin catalog.Accessor, capabilities ...access.Capability) string {
	t.Helper()
	made, err := admin.CreateMethod(t.Context(), catalog.Method{Name: "m", Type: catalog.TypeK8s})
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.CreateRole(t.Context(), catalog.Role{Name: "r"}); err != nil {
		t.Fatal(err)
	}
	if len(capabilities) > 0 {
		if err := admin.SetRule(t.Context(), "r", access.Rule{Type: access.ItemRule, Path: "/*", Capabilities: capabilities}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.Associate(t.Context(), catalog.Association{Role: "r", Method: "m"}); err != nil {
		t.Fatal(err)
	}
	return made.AccessID
}

// A role that is not written as a whole must not be there in part: it may let in
// more than was wanted.
func TestRolesAreWrittenWithTheirPoliciesOrNotAtAll(t *testing.T) {
	t.Parallel()
	const (
		path = "/v1/auth/kubernetes/role/web"
		role = `{"bound_service_account_names":"*","bound_service_account_namespaces":"*","token_policies":`
	)
	for _, tt := range []struct {
		name, policies string
		status         int
		errors         string
		given          []string
	}{
		{"none", `[]`, 204, "", []string{}},
		{"one that is named twice", `["a","a"]`, 204, "", []string{"a"}},
		{"one that is named in two ways", `"a,/a,default"`, 204, "", []string{"a"}},
		{"one that does not exist", `"a,none"`, 400, `token_policies: role "none" of the gateway; there is no such role`, nil},
		{"one that can't be", `"a,b c"`, 400, `token_policies: role "b c" of the gateway; `, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			admin, _ := r.withCatalog(t)
			if err := admin.CreateRole(t.Context(), catalog.Role{Name: "a"}); err != nil {
				t.Fatal(err)
			}
			if _, err := admin.CreateAuthConfig(t.Context(), catalog.AuthConfig{Name: "kubernetes", Reviewer: catalog.ReviewerSelf}); err != nil {
				t.Fatal(err)
			}
			got := r.do(t, "POST", path, role+tt.policies+"}")
			if got.status != tt.status || !strings.HasPrefix(got.errors(), tt.errors) {
				t.Errorf("%d %s", got.status, got.text)
			}
			_, given, err := admin.Method(t.Context(), "web")
			if (err == nil) != (tt.status == 204) || err != nil && !errors.Is(err, catalog.ErrNotFound) {
				t.Fatalf("the role: %v", err)
			}
			if diff := cmp.Diff(tt.given, policiesOf(given), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if tt.status == 204 {
				return
			}
			// Neither is one changed in part that there is.
			if got := r.do(t, "POST", path, role+`"a"}`); got.status != 204 {
				t.Fatalf("%d %s", got.status, got.text)
			}
			r.do(t, "POST", path, `{"token_ttl":60,"token_policies":`+tt.policies+"}")
			if m, _, err := admin.Method(t.Context(), "web"); err != nil || m.SessionTTL != 0 {
				t.Errorf("sessions live %s: %v", m.SessionTTL, err)
			}
		})
	}
}

// Who may not give a role gets no role of the mount made halfway.
func TestPoliciesThatMayNotBeGiven(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	admin, _ := r.withCatalog(t)
	if err := admin.CreateRole(t.Context(), catalog.Role{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateAuthConfig(t.Context(), catalog.AuthConfig{Name: "kubernetes", Reviewer: catalog.ReviewerSelf}); err != nil {
		t.Fatal(err)
	}
	r.session.Claims.AccessID = caller(t, admin)
	rule := access.Rule{Type: access.AuthMethodRule, Path: "/*", Capabilities: []access.Capability{access.Create, access.Read, access.Update}}
	if err := admin.SetRule(t.Context(), "r", rule); err != nil {
		t.Fatal(err)
	}
	got := r.do(t, "POST", "/v1/auth/kubernetes/role/web", `{"bound_service_account_names":"*","bound_service_account_namespaces":"*","token_policies":"a"}`)
	if got.status != http.StatusForbidden || got.errors() != `token_policies: role "a" of the gateway; permission denied` {
		t.Errorf("%d %s", got.status, got.text)
	}
	if _, _, err := admin.Method(t.Context(), "web"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("the role: %v", err)
	}

	// Neither may it take one away that it sees.
	if err := admin.SetRule(t.Context(), "r", access.Rule{Type: access.RoleRule, Path: "/*", Capabilities: []access.Capability{access.Read}}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateMethod(t.Context(), catalog.Method{Name: "web", Type: catalog.TypeK8s, AuthConfigs: []string{"kubernetes"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Associate(t.Context(), catalog.Association{Role: "a", Method: "web"}); err != nil {
		t.Fatal(err)
	}
	got = r.do(t, "POST", "/v1/auth/kubernetes/role/web", `{"token_ttl":60,"token_policies":""}`)
	if m, _, err := admin.Method(t.Context(), "web"); got.status != http.StatusForbidden || err != nil || m.SessionTTL != 0 {
		t.Errorf("%d %s; sessions live %s: %v", got.status, got.text, m.SessionTTL, err)
	}
}
