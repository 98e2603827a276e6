package catalog

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger is an audit log in memory.
type ledger struct {
	mu     sync.Mutex
	events []audit.Event
	broken bool
}

func (l *ledger) Write(e *audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return errors.New("disk full")
	}
	l.events = append(l.events, *e)
	return nil
}

func (l *ledger) since(n int) []audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events[n:])
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

func (l *ledger) fail(broken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = broken
}

// openStore opens a database that is closed when the test ends.
func openStore(t testing.TB, dir string) store.Store {
	t.Helper()
	s, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return seal.Guard(s)
}

func newSealer(t testing.TB) *seal.Sealer {
	t.Helper()
	name := filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.CreateFile(name); err != nil {
		t.Fatal(err)
	}
	return openSealer(t, name)
}

func openSealer(t testing.TB, name string) *seal.Sealer {
	t.Helper()
	sealer, err := seal.New(seal.Options{File: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

// start runs a catalog until the returned function is called, at the latest when the
// test ends.
func start(t testing.TB, o Options) (*Catalog, func()) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	until(t, "the store to be read", func() bool { return c.Ready() == nil })
	return c, stop
}

// until waits for what happens by itself.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// rig is a catalog with an administrator.
type rig struct {
	*Catalog
	t     testing.TB
	log   *ledger
	admin Accessor
	root  Caller
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigOn(t, openStore(t, t.TempDir()))
}

func newRigOn(t testing.TB, backend store.Store) *rig {
	t.Helper()
	log := &ledger{}
	c, _ := start(t, Options{Store: backend, Seal: newSealer(t), Audit: log})
	credentials, err := c.Bootstrap(t.Context(), nil)
	if err != nil || credentials == nil {
		t.Fatalf("no administrator: %v", err)
	}
	root := Caller{AccessID: credentials.AccessID, Subject: "access-key:" + credentials.AccessID, Session: "root-session", Protocol: "v2", Client: "192.0.2.1"}
	return &rig{Catalog: c, t: t, log: log, admin: c.As(root), root: root}
}

// k8s makes an auth method, and returns its access id.
func (r *rig) k8s(name string) string {
	r.t.Helper()
	made, err := r.admin.CreateMethod(r.t.Context(), Method{Name: name, Type: TypeK8s})
	if err != nil {
		r.t.Fatal(err)
	}
	return made.AccessID
}

// with makes an auth method that has a role with these rules, and returns who came
// through it.
func (r *rig) with(name string, rules ...access.Rule) Accessor {
	r.t.Helper()
	id := r.k8s("who/" + name)
	ctx := r.t.Context()
	if err := r.admin.CreateRole(ctx, Role{Name: "of/" + name, Rules: rules}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.admin.Associate(ctx, Association{Role: "of/" + name, Method: "who/" + name}); err != nil {
		r.t.Fatal(err)
	}
	return r.As(Caller{AccessID: id, Subject: name, Session: name + "-session"})
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func rule(of access.RuleType, path string, may ...access.Capability) access.Rule {
	return access.Rule{Type: of, Path: path, Capabilities: may}
}

// discard is an audit log that keeps nothing.
type discard struct{}

func (*discard) Write(*audit.Event) error { return nil }

// The functions that follow make updates that put something in the place of what
// there was, but for names and types that are left out.

func anewMethod(m Method) func(*Method) error {
	return func(was *Method) error {
		next := m
		next.Name, next.Type = cmp.Or(m.Name, was.Name), cmp.Or(m.Type, was.Type)
		*was = next
		return nil
	}
}

func anewConfig(c AuthConfig) func(*AuthConfig) error {
	return func(was *AuthConfig) error {
		next := c
		next.Name = cmp.Or(c.Name, was.Name)
		*was = next
		return nil
	}
}

func anewRole(name, description string) func(*Role) error {
	return func(was *Role) error {
		was.Name, was.Description = cmp.Or(name, was.Name), description
		return nil
	}
}

func anewItem(name, description string, tags []string) func(*Item) error {
	return func(was *Item) error {
		was.Name, was.Description, was.Tags = cmp.Or(name, was.Name), description, tags
		return nil
	}
}

func anewAssociation(subClaims map[string]string, caseSensitive bool) func(*Association) error {
	return func(was *Association) error {
		was.SubClaims, was.CaseSensitive = subClaims, caseSensitive
		return nil
	}
}

// updateConfig changes an auth config, and forgets what it is then.
func updateConfig(ctx context.Context, as Accessor, name string, c AuthConfig) error {
	return updated(as.UpdateAuthConfig(ctx, name, anewConfig(c)))
}

// Live says until when a session lasts whose signature and expiry are in order.
func (c *Catalog) Live(s *session.Claims, now time.Time) (until time.Time, err error) {
	v := c.View()
	if err := v.Check(s, now); err != nil {
		return time.Time{}, err
	}
	return v.LeaseEnd(s), nil
}
