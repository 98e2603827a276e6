package state

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/gateway"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/review"
	"github.com/gatepass/gatepass/gateway/session"
)

// stored is a store of logins that follows a catalog, with an administrator.
func stored(t *testing.T) (*Store, *catalog.Catalog, catalog.Accessor, *catalog.Credentials) {
	t.Helper()
	kept, _ := keptKeys(t)
	var present atomic.Pointer[Store]
	objects, stop := running(t, func(ctx context.Context) {
		if store := present.Load(); store != nil {
			store.CatalogChanged(ctx)
		}
	})
	t.Cleanup(stop)
	store := New(Options{Cluster: plainCluster, Catalog: objects, Keys: kept, Logger: slog.New(slog.DiscardHandler)})
	present.Store(store)
	t.Cleanup(store.Close)
	if err := store.Apply(t.Context(), parse(t, oneMethod)); err != nil {
		t.Fatal(err)
	}
	made, err := objects.Bootstrap(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	admin := objects.As(catalog.Caller{AccessID: made.AccessID, Session: "root"})
	return store, objects, admin, made
}

func plainCluster() (*rest.Config, error) { return &rest.Config{Host: "https://own"}, nil }

func TestStoredLogins(t *testing.T) {
	t.Parallel()
	store, objects, admin, root := stored(t)
	ctx := t.Context()
	state := store.State()
	if !state.VerifyAccessKey(root.AccessID, root.AccessKey) || state.VerifyAccessKey(root.AccessID, "x") || state.VerifyAccessKey("p-abcdefghij12km", "") {
		t.Error("access keys are not told apart")
	}
	issue := func(id, subject string) string {
		t.Helper()
		s := store.State()
		token, _, err := s.Sessions().Sign(session.Grant{AccessID: id, Subject: subject, TTL: time.Hour, Now: time.Now(), Generation: s.Generation(id, subject)})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	expect := func(what, token string, want error) {
		t.Helper()
		if _, err := store.State().Authenticate(token, netip.Addr{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	expect("the administrator", issue(root.AccessID, "root"), nil)
	expect("the file's auth method", issue("p-abcdefghij12km", "a"), nil)

	// What was made can be used at once, on this gateway.
	made, err := admin.CreateMethod(ctx, catalog.Method{Name: "team", Type: catalog.TypeK8s, Namespaces: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	method, ok := store.State().AuthMethodNamed("team")
	if !ok || method.AccessID != made.AccessID || method.Namespaces[0] != "x" || method.SessionTTL != 15*time.Minute {
		t.Fatalf("%+v", method)
	}
	one, two := issue(made.AccessID, "a"), issue(made.AccessID, "b")
	expect("a session", one, nil)
	if err := admin.RevokeIdentity(ctx, "team", "a"); err != nil {
		t.Fatal(err)
	}
	expect("a revoked session", one, session.ErrRevoked)
	expect("another's session", two, nil)
	expect("a session after the revocation", issue(made.AccessID, "a"), nil)

	if _, err := admin.CreateAuthConfig(ctx, catalog.AuthConfig{Name: "conf", AccessID: made.AccessID, Reviewer: catalog.ReviewerSelf}); err != nil {
		t.Fatal(err)
	}
	first, ok := store.State().AuthConfig("conf")
	if !ok || first.AccessID != made.AccessID {
		t.Fatalf("%+v", first)
	}
	if err := admin.UpdateSettings(ctx, catalog.Settings{SessionTTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if again, _ := store.State().AuthConfig("conf"); again != first {
		t.Error("an auth config that did not change has lost its connections")
	}
	if method, _ := store.State().AuthMethod(made.AccessID); method.SessionTTL != time.Hour {
		t.Errorf("sessions live %s", method.SessionTTL)
	}
	if _, err := admin.UpdateAuthConfig(ctx, "conf", func(c *catalog.AuthConfig) error {
		c.Reviewer, c.Issuer = catalog.ReviewerSelf, "https://i"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if again, _ := store.State().AuthConfig("conf"); again == first {
		t.Error("a changed auth config is the one before")
	}

	// A broken file changes nothing; a good one hides what it declares too.
	if err := store.Apply(ctx, parse(t, oneMethod+"kubernetesAuthConfigs:\n- {name: broken, accessID: p-abcdefghij12km, caFile: /does/not/exist, reviewer: {type: gateway}}\n")); err == nil {
		t.Error("a file with a broken auth config was taken")
	}
	expect("after a broken file", two, nil)
	if err := store.Apply(ctx, parse(t, "authMethods:\n- {name: team, accessID: p-teamteamte12km, kubernetes: {}}\n")); err != nil {
		t.Fatal(err)
	}
	expect("a session of an auth method that the file hides", two, session.ErrUnknown)
	if err := store.Apply(ctx, parse(t, oneMethod)); err != nil {
		t.Fatal(err)
	}
	expect("when the file does not hide it any more", two, nil)
	if err := admin.DeleteAuthConfig(ctx, "conf"); err != nil {
		t.Fatal(err)
	}
	if err := admin.DeleteMethod(ctx, "team"); err != nil {
		t.Fatal(err)
	}
	expect("a session of a deleted auth method", two, session.ErrUnknown)
	if objects.Ready() != nil {
		t.Error("not ready")
	}
}

func TestStoredTarget(t *testing.T) {
	t.Parallel()
	ownTarget := func(c *catalog.AuthConfig) *review.Client {
		t.Helper()
		client, err := New(Options{Cluster: plainCluster}).storedReviewer(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	for _, c := range []catalog.AuthConfig{
		{Reviewer: catalog.ReviewerGateway}, {Reviewer: catalog.ReviewerSelf},
		{Reviewer: catalog.ReviewerToken, ReviewerJWT: []byte("a.b.c"), Host: "https://other"},
	} {
		ownTarget(&c)
	}
	_, err := New(Options{Cluster: noCluster}).storedReviewer(&catalog.AuthConfig{Reviewer: catalog.ReviewerGateway})
	if err == nil || !strings.Contains(err.Error(), "own cluster") {
		t.Errorf("error %v", err)
	}
	unable := New(Options{Cluster: noCluster, Logger: slog.New(slog.DiscardHandler)}).connect(&catalog.AuthConfig{Name: "c", Reviewer: catalog.ReviewerGateway})
	if problem := problemOf(t, &unable.AuthConfig); problem != review.ReasonUnusable {
		t.Errorf("reason %q", problem)
	}
}

// problemOf is why a review of a token by an auth config fails.
func problemOf(t *testing.T, c *gateway.AuthConfig) review.Reason {
	t.Helper()
	var failure *review.Failure
	if _, err := c.Reviewer.Review(t.Context(), "a.b.c", ""); !errors.As(err, &failure) {
		t.Fatalf("error %v", err)
	}
	return failure.Reason
}

func TestAnAuthConfigThatCantBeUsed(t *testing.T) {
	t.Parallel()
	kept, _ := keptKeys(t)
	var present atomic.Pointer[Store]
	objects, stop := running(t,
		func(ctx context.Context) {
			if store := present.Load(); store != nil {
				store.CatalogChanged(ctx)
			}
		},
		func(c *catalog.AuthConfig) error { return present.Load().Usable(c) })
	t.Cleanup(stop)
	var away atomic.Bool
	// Nobody listens there.
	own := &rest.Config{Host: "https://127.0.0.1:1"}
	store := New(Options{Catalog: objects, Keys: kept, Logger: slog.New(slog.DiscardHandler), Cluster: func() (*rest.Config, error) {
		if away.Load() {
			return noCluster()
		}
		return own, nil
	}})
	present.Store(store)
	t.Cleanup(store.Close)
	if err := store.Apply(t.Context(), parse(t, oneMethod)); err != nil {
		t.Fatal(err)
	}
	made, err := objects.Bootstrap(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	admin := objects.As(catalog.Caller{AccessID: made.AccessID, Session: "root"})
	config := catalog.AuthConfig{Name: "c", AccessID: "p-abcdefghij12km", Reviewer: catalog.ReviewerGateway}

	away.Store(true)
	if _, err := admin.CreateAuthConfig(t.Context(), config); !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), "not in a cluster") {
		t.Errorf("it is made: %v", err)
	}
	if _, ok := store.State().AuthConfig("c"); ok {
		t.Error("one that was refused is there")
	}
	away.Store(false)
	if _, err := admin.CreateAuthConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}

	// Another gateway, or this one after a restart, may lack what this one has.
	away.Store(true)
	another := New(store.options)
	t.Cleanup(another.Close)
	if err := another.Apply(t.Context(), parse(t, oneMethod)); err != nil {
		t.Fatal(err)
	}
	problem := func() review.Reason {
		c, ok := another.State().AuthConfig("c")
		if !ok {
			t.Fatal("it is gone")
		}
		return problemOf(t, c)
	}
	another.catchUp(t.Context())
	if got := problem(); got != review.ReasonUnusable {
		t.Errorf("without a cluster: %q", got)
	}
	away.Store(false)
	another.catchUp(t.Context())
	if got := problem(); got != review.ReasonUnreachable {
		t.Errorf("with a cluster: %q", got)
	}
	repaired, _ := another.State().AuthConfig("c")
	another.catchUp(t.Context())
	if again, _ := another.State().AuthConfig("c"); again != repaired {
		t.Error("an auth config that can be used is made anew")
	}
}

// Between the moment at which the catalog has been read and that at which its auth
// methods are in use, their sessions would be taken for forged ones.
func TestNotReadyBeforeTheStoresMethodsAreInUse(t *testing.T) {
	t.Parallel()
	store, _, _, root := stored(t)
	early := *store.present.Load()
	early.logins, early.read = &catalog.Logins{}, false // as it is when Apply comes before the catalog was read
	store.present.Store(&early)
	if err := store.Ready(); err == nil || store.State() != nil {
		t.Errorf("requests are answered: %v", err)
	}
	store.CatalogChanged(t.Context())
	if err := store.Ready(); err != nil || store.State() == nil {
		t.Fatalf("requests are not answered: %v", err)
	}
	if _, ok := store.State().AuthMethod(root.AccessID); !ok {
		t.Error("the administrator is not known")
	}
}
