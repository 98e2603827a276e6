package state

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/session"
	record "github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ownCluster has every kind of credential, so that a leak of one is seen.
func ownCluster() (*rest.Config, error) {
	return &rest.Config{
		Host: "https://own:6443", BearerToken: "own-token", BearerTokenFile: "/own/token", Username: "own-user", Password: "own-password",
		TLSClientConfig: rest.TLSClientConfig{CAFile: "/own/ca.crt", ServerName: "own", CertFile: "/own/crt", KeyFile: "/own/key"},
	}, nil
}

func noCluster() (*rest.Config, error) { return nil, errors.New("not in a cluster") }

func TestTarget(t *testing.T) {
	t.Parallel()
	type view struct {
		Host, Server, CAFile, CA, Token, TokenFile, User, CertFile, KeyFile string
	}
	for _, tt := range []struct {
		name    string
		cluster func() (*rest.Config, error)
		config  config.KubernetesAuthConfig
		want    view
	}{
		{"the gateway reviews in its own cluster", ownCluster,
			config.KubernetesAuthConfig{Reviewer: config.Reviewer{Type: config.ReviewerGateway}},
			view{"https://own:6443", "own", "/own/ca.crt", "", "own-token", "/own/token", "own-user", "/own/crt", "/own/key"}},
		{"a dedicated account reviews in the gateway's cluster", ownCluster,
			config.KubernetesAuthConfig{Reviewer: config.Reviewer{Type: config.ReviewerToken, TokenFile: "/t"}},
			view{Host: "https://own:6443", Server: "own", CAFile: "/own/ca.crt", TokenFile: "/t"}},
		{"a token reviews itself in the gateway's cluster", ownCluster,
			config.KubernetesAuthConfig{Reviewer: config.Reviewer{Type: config.ReviewerSelf}},
			view{Host: "https://own:6443", Server: "own", CAFile: "/own/ca.crt"}},
		{"another cluster gets none of the gateway's credentials", ownCluster,
			config.KubernetesAuthConfig{Host: "https://other", CABundle: "PEM", Reviewer: config.Reviewer{Type: config.ReviewerCertificate, CertFile: "/c", KeyFile: "/k"}},
			view{Host: "https://other", CA: "PEM", CertFile: "/c", KeyFile: "/k"}},
		{"another address of the same CA", ownCluster,
			config.KubernetesAuthConfig{Host: "https://other", Reviewer: config.Reviewer{Type: config.ReviewerSelf}},
			view{Host: "https://other", CAFile: "/own/ca.crt"}},
		{"another cluster needs no own one", noCluster,
			config.KubernetesAuthConfig{Host: "https://other", CAFile: "/ca", Reviewer: config.Reviewer{Type: config.ReviewerToken, TokenFile: "/t"}},
			view{Host: "https://other", CAFile: "/ca", TokenFile: "/t"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := New(Options{Cluster: tt.cluster}).target(&tt.config)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, view{got.Host, got.ServerName, got.CAFile, string(got.CAData), got.BearerToken,
				got.BearerTokenFile, got.Username, got.CertFile, got.KeyFile}); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("without a cluster its defaults are missed", func(t *testing.T) {
		t.Parallel()
		_, err := New(Options{Cluster: noCluster}).target(&config.KubernetesAuthConfig{Host: "https://x", CAFile: "/ca", Reviewer: config.Reviewer{Type: config.ReviewerGateway}})
		if err == nil || !strings.Contains(err.Error(), "own cluster") {
			t.Errorf("error %v", err)
		}
	})
}

// running is a catalog over an empty database. It runs until the returned function
// is called.
func running(t *testing.T, changed func(context.Context), usable ...func(*catalog.AuthConfig) error) (*catalog.Catalog, func()) {
	t.Helper()
	database, err := bolt.Open(bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.CreateFile(name); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	sealer, err := seal.New(seal.Options{File: name, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	options := catalog.Options{Store: seal.Guard(database), Seal: sealer, Audit: audit.NewLog(io.Discard), Logger: log, Changed: changed}
	if len(usable) > 0 {
		options.Usable = usable[0]
	}
	c, err := catalog.New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for c.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	return c, func() {
		cancel()
		if err := errors.Join(<-ended, database.Close()); err != nil {
			t.Error(err)
		}
	}
}

// keptKeys keeps signing keys in a store of their own.
func keptKeys(t *testing.T) (*keys.Ring, record.Store) {
	t.Helper()
	database, err := bolt.Open(bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := database.Close(); err != nil {
			t.Error(err)
		}
	})
	name := filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.CreateFile(name); err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(seal.Options{File: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return keys.NewStored(seal.Guard(database), sealer, keys.DefaultRotation), database
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse([]byte("apiVersion: config.gatepass.dev/v1alpha1\nkind: GatewayConfig\nissuer: https://g\n" + text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const oneMethod = "authMethods:\n- {name: m, accessID: p-abcdefghij12km, sessionTTL: 1m, kubernetes: {audience: a}}\n"

func TestApply(t *testing.T) {
	t.Parallel()
	kept, _ := keptKeys(t)
	objects, stop := running(t, nil)
	t.Cleanup(stop)
	store := New(Options{Cluster: func() (*rest.Config, error) { return &rest.Config{Host: "https://own"}, nil }, Catalog: objects, Keys: kept, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(store.Close)
	if store.State() != nil || store.Ready() == nil {
		t.Fatal("ready without a configuration")
	}
	good := oneMethod + "kubernetesAuthConfigs:\n- {name: c, accessID: p-abcdefghij12km, reviewer: {type: gateway}}\n"
	if err := store.Apply(t.Context(), parse(t, good)); err != nil {
		t.Fatal(err)
	}
	first := store.State()
	method, ok := first.AuthMethod("p-abcdefghij12km")
	if !ok || method.SessionTTL != time.Minute || method.Audience != "a" || store.Ready() != nil {
		t.Errorf("method %+v", method)
	}
	if c, ok := first.AuthConfig("c"); !ok || c.AccessID != method.AccessID || c.Reviewer == nil {
		t.Errorf("auth config %+v", c)
	}
	for name, broken := range map[string]string{
		"a CA that does not exist": oneMethod + "kubernetesAuthConfigs:\n- {name: c, accessID: p-abcdefghij12km, caFile: /does/not/exist, reviewer: {type: gateway}}\n",
	} {
		if err := store.Apply(t.Context(), parse(t, broken)); err == nil {
			t.Errorf("%s is accepted", name)
		}
		if store.State() != first {
			t.Errorf("%s replaced what was good", name)
		}
	}
	if err := store.Apply(t.Context(), parse(t, oneMethod)); err != nil {
		t.Fatal(err)
	}
	if _, ok := store.State().AuthConfig("c"); ok {
		t.Error("an auth config that was removed is still there")
	}
	if !bytes.Equal(store.State().Sessions().JWKS(), first.Sessions().JWKS()) {
		t.Error("the signing key changed with the configuration")
	}
}

type brokenKeys struct{}

func (brokenKeys) Keys(context.Context, []keys.Key) ([]keys.Key, error) {
	return nil, errors.New("the Secret can't be read")
}

func TestApplyWithoutKeys(t *testing.T) {
	t.Parallel()
	objects, stop := running(t, nil)
	t.Cleanup(stop)
	store := New(Options{Cluster: noCluster, Catalog: objects, Keys: brokenKeys{}, Logger: slog.New(slog.DiscardHandler)})
	if err := store.Apply(t.Context(), parse(t, oneMethod)); err == nil || store.Ready() == nil {
		t.Errorf("ready without signing keys: %v", err)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	const id = "p-abcdefghij12km"
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		objects, stop := running(t, nil)
		defer stop()
		kept, records := keptKeys(t)
		store := New(Options{Cluster: noCluster, Catalog: objects, Keys: kept, Logger: slog.New(slog.DiscardHandler)})
		if err := store.Apply(ctx, parse(t, oneMethod)); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- store.Follow(ctx) }()
		step := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		issue := func() string {
			t.Helper()
			token, _, err := store.State().Sessions().Sign(session.Grant{AccessID: id, TTL: time.Hour, Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		expect := func(what, token string, want error) {
			t.Helper()
			if _, err := store.State().Sessions().Verify(token, time.Now()); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		published := func() int { return bytes.Count(store.State().Sessions().JWKS(), []byte(`"kid"`)) }

		step(time.Second)
		first := issue()
		if _, err := records.Commit(ctx, record.Delete("sealed/session-keys", record.Any)); err != nil {
			t.Fatal(err)
		}
		step(time.Minute)
		if _, err := records.Get(ctx, "sealed/session-keys"); err != nil {
			t.Errorf("a key that was lost does not come back: %v", err)
		}
		expect("a session of a key that was lost", first, nil)
		if _, err := kept.Rotate(ctx); err != nil {
			t.Fatal(err)
		}
		step(keysInterval + time.Second)
		if published() != 2 {
			t.Errorf("%d keys are published before the new one signs", published())
		}
		step(keys.Ahead)
		last := issue()
		expect("a session of the key before", first, nil)
		expect("a session of the new key", last, nil)

		if err := kept.Replace(ctx); err != nil {
			t.Fatal(err)
		}
		step(keysInterval + time.Second)
		expect("a session of a key that was stolen", last, session.ErrUnknown)
		expect("a session of the key in its place", issue(), nil)
		if published() != 1 {
			t.Errorf("%d keys are published after all were replaced", published())
		}
		broken, err := records.Get(ctx, "sealed/session-keys")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := records.Commit(ctx, record.Put("sealed/session-keys", broken.Value[:len(broken.Value)-1])); err != nil {
			t.Fatal(err)
		}
		step(time.Minute)
		expect("while the keys can't be read", issue(), nil)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
