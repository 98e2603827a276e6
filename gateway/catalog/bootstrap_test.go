package catalog

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/store"
)

// shelf keeps the credentials that it gets first.
type shelf struct {
	mu    sync.Mutex
	kept  Credentials
	fails error
}

func (s *shelf) keep(_ context.Context, fresh Credentials) (Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == (Credentials{}) {
		s.kept = fresh
	}
	return s.kept, s.fails
}

func TestCatalogsThatKeepCredentialsInOnePlaceAgree(t *testing.T) {
	t.Parallel()
	options := Options{Store: openStore(t, t.TempDir()), Seal: newSealer(t), Audit: &ledger{}}
	a, _ := start(t, options)
	b, _ := start(t, options)
	s := &shelf{}
	var race sync.WaitGroup
	for _, c := range []*Catalog{a, b, a, b} {
		race.Go(func() {
			if made, err := c.Bootstrap(t.Context(), s.keep); err != nil || made != nil && *made != s.kept {
				t.Errorf("%v, or other credentials than those that are kept", err)
			}
		})
	}
	race.Wait()
	for _, c := range []*Catalog{a, b} {
		if _, err := c.Login(t.Context(), s.kept.AccessID, s.kept.AccessKey); err != nil {
			t.Errorf("what is kept does not log in: %v", err)
		}
	}
}

// unwritable is an audit log on a full disk.
type unwritable struct{}

func (unwritable) Write(*audit.Event) error { return errors.New("disk full") }

// forgetful loses the answers of commits, not the commits.
type forgetful struct{ store.Store }

func (f forgetful) Commit(ctx context.Context, ops ...store.Op) (int64, error) {
	if _, err := f.Store.Commit(ctx, ops...); err != nil {
		return 0, err
	}
	return 0, store.ErrUnavailable
}

func TestBootstrapGoesOnWithWhatIsKept(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		first func(*Options)
	}{
		{"after an end before the commit", func(o *Options) { o.Audit = unwritable{} }},
		{"after a commit whose answer was lost", func(o *Options) { o.Store = forgetful{o.Store} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			options := Options{Store: openStore(t, t.TempDir()), Seal: newSealer(t), Audit: &ledger{}}
			s := &shelf{}
			broken := options
			tt.first(&broken)
			c, stop := start(t, broken)
			if _, err := c.Bootstrap(t.Context(), s.keep); err == nil {
				t.Error("the first try succeeds")
			}
			stop()
			kept := s.kept
			c, _ = start(t, options)
			if _, err := c.Bootstrap(t.Context(), s.keep); err != nil {
				t.Error(err)
			}
			if _, err := c.Login(t.Context(), kept.AccessID, kept.AccessKey); err != nil {
				t.Errorf("what was kept at first does not log in: %v", err)
			}
		})
	}
}

func TestBootstrapRefuses(t *testing.T) {
	t.Parallel()
	good := newCredentials()
	for _, tt := range []struct {
		name  string
		shelf *shelf
		want  string
	}{
		{"what can't be kept", &shelf{fails: errors.New("no room")}, "no room"},
		{"a key that somebody thought of", &shelf{kept: Credentials{good.AccessID, "correct-horse-battery-staple"}}, "the access key is not one that a gateway made"},
		{"a key that is too long", &shelf{kept: Credentials{good.AccessID, good.AccessKey + "AAAA"}}, "the access key is not one that a gateway made"},
		{"an access id of pods", &shelf{kept: Credentials{newAccessID(TypeK8s), good.AccessKey}}, "the access id is not one that a gateway made"},
		{"an access id that is a path", &shelf{kept: Credentials{"p-../../../../a1", good.AccessKey}}, "the access id is not one that a gateway made"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := start(t, Options{Store: openStore(t, t.TempDir()), Seal: newSealer(t), Audit: &ledger{}})
			made, err := c.Bootstrap(t.Context(), tt.shelf.keep)
			if err == nil || made != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && tt.shelf.kept.AccessKey != "" && strings.Contains(err.Error(), tt.shelf.kept.AccessKey) {
				t.Errorf("the error holds the key: %v", err)
			}
			if _, err := c.options.Store.Get(t.Context(), administratorKey); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("an administrator was made: %v", err)
			}
		})
	}
}
