package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/agent/gatetest"
	"github.com/gatepass/gatepass/gateway"
	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/state"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// rig is the real gateway on a store of its own. Nobody listens where its cluster
// should be.
type rig struct {
	url   string
	ca    *gatetest.Authority
	admin *catalog.Credentials
}

func newRig(t testing.TB) *rig {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	records := audit.NewLog(io.Discard)
	dir := t.TempDir()
	database, err := bolt.Open(bolt.Options{Dir: dir})
	must(err)
	t.Cleanup(func() { must(database.Close()) })
	keyFile := filepath.Join(dir, "seal.key")
	_, err = seal.CreateFile(keyFile)
	must(err)
	sealer, err := seal.New(seal.Options{File: keyFile, Logger: quiet})
	must(err)
	kept := keys.NewStored(seal.Guard(database), sealer, 0)

	var present *state.Store
	objects, err := catalog.New(catalog.Options{
		Store: seal.Guard(database), Seal: sealer, Audit: records, Logger: quiet,
		Changed: func(ctx context.Context) { present.CatalogChanged(ctx) },
		Usable:  func(c *catalog.AuthConfig) error { return present.Usable(c) },
	})
	must(err)
	present = state.New(state.Options{
		Cluster: func() (*rest.Config, error) { return &rest.Config{Host: "https://127.0.0.1:1"}, nil },
		Catalog: objects, Keys: kept, Logger: quiet,
	})
	t.Cleanup(present.Close)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- objects.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(<-ended)
	})
	deadline := time.After(10 * time.Second)
	for objects.Ready() != nil {
		select {
		case <-deadline:
			t.Fatal("the store is not read")
		case <-time.After(time.Millisecond):
		}
	}
	must(present.Apply(t.Context(), &config.Config{Issuer: "https://gateway.example:8000"}))
	r := new(rig)
	r.admin, err = objects.Bootstrap(t.Context(), nil)
	must(err)
	api, err := gateway.New(gateway.Options{
		State: present.State, Catalog: objects, Audit: records, Ready: present.Ready, Logger: quiet, Metrics: prometheus.NewRegistry(),
	})
	must(err)
	r.url, r.ca = gatetest.NewServer(t, api.ServeHTTP)
	return r
}

// TestManagement runs the scripts of testdata/management, each against a real
// gateway of its own that was just started for the first time.
func TestManagement(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/management",
		Setup: func(env *testscript.Env) error {
			tt, ok := env.T().(testing.TB)
			if !ok {
				return errors.New("not run by a test")
			}
			return newRig(tt).prepare(tt, env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"let": let, "mode": mode, "unhex": unhex, "write": write},
	})
}

// prepare gives a script what an administrator has after the first start, and a
// folder for its profiles.
func (r *rig) prepare(t testing.TB, env *testscript.Env) error {
	for name, value := range map[string]string{
		"GATEWAY":         r.url,
		"ADMIN_ID":        r.admin.AccessID,
		"ADMIN_KEY":       r.admin.AccessKey,
		"XDG_CONFIG_HOME": filepath.Join(env.WorkDir, "config"),
		"HOME":            env.WorkDir,
	} {
		env.Setenv(name, value)
	}
	client := gatetest.NewAuthority(t, "a cluster's clients").Issue(t, gatetest.Leaf{Usage: x509.ExtKeyUsageClientAuth})
	der, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"ca.crt":     r.ca.PEM(),
		"admin.key":  r.admin.AccessKey + "\n",
		"client.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: client.Certificate[0]})),
		"client.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"jwt":        gatetest.Token(t, map[string]any{"sub": "system:serviceaccount:default:gateway-token-reviewer"}),
	} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// let sets a variable to a field of the JSON object that was just printed, as
// scripts do with jq: let VARIABLE FIELD.
func let(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: let VARIABLE FIELD")
	}
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &object))
	value, ok := object[args[1]].(string)
	if !ok || value == "" {
		ts.Fatalf("there is no text %s", args[1])
	}
	ts.Setenv(args[0], value)
}

// mode holds a file's permissions against a text: mode -rw------- FILE.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode PERMISSIONS FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); got != args[0] {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}

// unhex makes a file of what another holds in hexadecimal: unhex FROM TO.
func unhex(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: unhex FROM TO")
	}
	data, err := hex.DecodeString(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

// write makes a file of a text: write FILE TEXT.
func write(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: write FILE TEXT")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(args[1]), 0o600))
}
