package catalog

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/gateway/store"
)

// TestPrivateKeysOfAuthMethodsLeaveTheStore: of a store that a version filled which
// signed sessions with them. What else it has stays.
func TestPrivateKeysOfAuthMethodsLeaveTheStore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	private, public, err := generateKey()
	r.must(err)
	sealed := func(key string, plain []byte) store.Op {
		t.Helper()
		value, err := r.options.Seal.Seal(key, plain)
		r.must(err)
		return store.Put(key, value)
	}
	var old []string
	for i := range 70 { // several pages
		id := fmt.Sprintf("p-%014d", i)
		old = append(old, fmt.Sprintf("%s%s/1", methodKeyPrefix, id), declaredKeyPrefix+id)
	}
	for _, key := range old {
		_, err := r.options.Store.Commit(ctx, sealed(key, private))
		r.must(err)
	}
	made, err := r.admin.CreateMethod(ctx, Method{Name: "own", Type: TypeK8s, PublicKey: public})
	r.must(err)
	for i := range 40 {
		_, err := r.admin.CreateAuthConfig(ctx, AuthConfig{
			Name: fmt.Sprintf("c%d", i), AccessID: made.AccessID, SigningKey: private, Reviewer: ReviewerToken, ReviewerJWT: []byte("a.b.c"), Host: "https://k8s",
		})
		r.must(err)
	}
	var configs []string
	for _, c := range r.View().configs.all() {
		key := configSecretKey(c.ID, c.Secret)
		configs = append(configs, key)
		plain := fmt.Sprintf(`{"signing_key":%s,"reviewer_jwt":"YS5iLmM="}`, `"c2VjcmV0"`)
		_, err := r.options.Store.Commit(ctx, sealed(key, []byte(plain)))
		r.must(err)
	}
	removed, err := r.removeMethodKeys(ctx)
	if want := len(old) + len(configs); err != nil || removed != want {
		t.Fatalf("%d removed, %v; want %d", removed, err, want)
	}
	for _, key := range old {
		if _, err := r.options.Store.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, key := range configs {
		item, err := r.options.Store.Get(ctx, key)
		r.must(err)
		plain, err := r.options.Seal.Open(key, item.Value)
		if err != nil || strings.Contains(string(plain), "signing_key") || !strings.Contains(string(plain), "YS5iLmM=") {
			t.Errorf("%s is %s, %v", key, plain, err)
		}
	}
	if c := r.login("c7"); string(c.ReviewerJWT) != "a.b.c" {
		t.Errorf("the reviewer's token is %q", c.ReviewerJWT)
	}
	if got, _, err := r.admin.Method(ctx, "own"); err != nil || got.PublicKey == "" {
		t.Errorf("the public half is %q, %v", got.PublicKey, err)
	}
	if removed, err := r.removeMethodKeys(ctx); err != nil || removed != 0 {
		t.Errorf("the second time %d are removed, %v", removed, err)
	}
}
