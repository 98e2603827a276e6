package state

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/keys"
)

// thenCancel tells its keys, after which the attempt is given up.
type thenCancel struct {
	keys.Source
	cancel context.CancelFunc
}

func (c thenCancel) Keys(ctx context.Context, known []keys.Key) ([]keys.Key, error) {
	defer c.cancel()
	return c.Source.Keys(ctx, known)
}

// A configuration is in use whole or not at all: its roles are not given to the auth
// methods of the one before.
func TestAConfigurationThatFailsGivesNoneOfItsRoles(t *testing.T) {
	t.Parallel()
	objects, stop := running(t, nil)
	t.Cleanup(stop)
	kept, _ := keptKeys(t)
	store := New(Options{Cluster: plainCluster, Catalog: objects, Keys: kept, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(store.Close)
	if err := store.Apply(t.Context(), parse(t, oneMethod)); err != nil {
		t.Fatal(err)
	}
	made, err := objects.Bootstrap(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	admin := objects.As(catalog.Caller{AccessID: made.AccessID, Session: "root"})
	// Something that the next attempt has to read from the store.
	if _, err := admin.CreateAuthConfig(t.Context(), catalog.AuthConfig{Name: "c", AccessID: "p-abcdefghij12km", Reviewer: catalog.ReviewerToken, ReviewerJWT: []byte("a.b.c")}); err != nil {
		t.Fatal(err)
	}
	const withRole = "roles: [{name: r, rules: [{type: item-rule, path: /x, capabilities: [read]}]}]\n"
	gone, cancel := context.WithCancel(t.Context())
	store.options.Keys = thenCancel{kept, cancel}
	if err := store.Apply(gone, parse(t, withRole)); err == nil {
		t.Fatal("it was applied without the store")
	}
	if r, err := admin.Role(t.Context(), "r"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("a role of a configuration that is not in use: %+v, %v", r, err)
	}
	store.options.Keys = kept
	if _, ok := store.State().AuthMethod("p-abcdefghij12km"); !ok {
		t.Error("the auth method of the one in use is gone")
	}
	if err := store.Apply(t.Context(), parse(t, withRole)); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Role(t.Context(), "r"); err != nil {
		t.Errorf("its role when it is in use: %v", err)
	}
	if _, ok := store.State().AuthMethod("p-abcdefghij12km"); ok {
		t.Error("the auth method of the one before is in use")
	}
}
