package catalog

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/store"
)

// failing is a store of which some commits fail.
type failing struct {
	store.Store
	// left is how many commits succeed before the others fail; below zero all do.
	left atomic.Int64
}

func (f *failing) Commit(ctx context.Context, ops ...store.Op) (int64, error) {
	if left := f.left.Load(); left == 0 || left > 0 && f.left.Add(-1) < 0 {
		return 0, store.ErrUnavailable
	}
	return f.Store.Commit(ctx, ops...)
}

// A deletion that takes several commits may end after any of them. What denies must not
// be gone then while what allows is there.
func TestADeletionThatEndsHalfwayTakesNoDenials(t *testing.T) {
	t.Parallel()
	for kind, remove := range map[string]func(context.Context, Accessor) error{
		"auth method": func(ctx context.Context, as Accessor) error { return as.DeleteMethod(ctx, "victim") },
		"role":        func(ctx context.Context, as Accessor) error { return as.DeleteRole(ctx, "denies") },
	} {
		for commits := range int64(4) {
			t.Run(kind+" after "+strconv.FormatInt(commits, 10)+" commits", func(t *testing.T) {
				t.Parallel()
				backend := &failing{Store: openStore(t, t.TempDir())}
				backend.left.Store(-1)
				v := newVictim(t, backend)
				backend.left.Store(commits)
				err := remove(t.Context(), v.admin)
				backend.left.Store(-1)
				if commits < 3 && !errors.Is(err, ErrUnavailable) || commits == 3 && err != nil {
					t.Fatalf("it ends with %v", err)
				}
				if denied := v.denied(); kind == "role" && denied != 0 && denied != manyAssociations {
					t.Errorf("%d are denied", denied)
				}
				if left := v.View().associations.len(); kind == "auth method" && v.usable() && left != manyAssociations+1 {
					t.Errorf("the auth method can be used, and has %d associations left", left)
				}
				if err == nil {
					return
				}
				if err := v.admin.UpdateMethod(t.Context(), "victim", anewMethod(Method{})); kind == "auth method" && commits > 0 && !errors.Is(err, ErrInUse) {
					t.Errorf("an auth method that has lost associations can be used again: %v", err)
				}
				v.must(remove(t.Context(), v.admin))
				if n := v.View().associations.len(); n > 1 || v.usable() != (kind == "role") {
					t.Errorf("%d associations are left", n)
				}
			})
		}
	}
}

// manyAssociations are more than one commit can delete.
const manyAssociations = maxOps + 3

// victim is an auth method that may read a secret, but for identities that a role denies
// it, each by an association of its own.
type victim struct {
	*rig
	id string
}

func newVictim(t *testing.T, backend store.Store) *victim {
	t.Helper()
	v := &victim{rig: newRigOn(t, backend)}
	v.id = v.k8s("victim")
	v.must(v.admin.CreateItem(t.Context(), Item{Name: "secret"}, []byte("x")))
	v.must(v.admin.CreateRole(t.Context(), Role{Name: "reads", Rules: []access.Rule{rule(access.ItemRule, "/*", access.Read)}}))
	v.must(v.admin.CreateRole(t.Context(), Role{Name: "denies", Rules: []access.Rule{rule(access.ItemRule, "/secret", access.Deny)}}))
	_, err := v.admin.Associate(t.Context(), Association{Role: "reads", Method: "victim"})
	v.must(err)
	for n := range manyAssociations {
		_, err := v.admin.Associate(t.Context(), Association{Role: "denies", Method: "victim", SubClaims: map[string]string{"pod_name": strconv.Itoa(n)}})
		v.must(err)
	}
	return v
}

// usable reports whether sessions of the method are valid.
func (v *victim) usable() bool {
	now := time.Now()
	claims := &session.Claims{ID: "s", AccessID: v.id, IssuedAt: now.Unix(), Expiry: now.Add(time.Hour).Unix()}
	return v.View().methodByID(v.id) != nil && v.View().Check(claims, now) == nil
}

// denied counts the identities that can't read the secret.
func (v *victim) denied() int {
	n := 0
	for i := range manyAssociations {
		who := v.As(Caller{AccessID: v.id, SubClaims: map[string][]string{"pod_name": {strconv.Itoa(i)}}})
		if _, _, err := who.Value(v.t.Context(), "secret", 0); err != nil {
			n++
		}
	}
	return n
}
