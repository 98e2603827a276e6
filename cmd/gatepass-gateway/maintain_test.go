package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/handover"
	"github.com/gatepass/gatepass/gateway/keys"
	"github.com/gatepass/gatepass/gateway/maintenance"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// command runs the program.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return out
}

// objects opens the catalog of a data folder until the returned function is called.
func objects(t *testing.T, s storage) (*catalog.Catalog, store.Store, *seal.Sealer, func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	opened, sealer, err := s.openSealed(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.New(catalog.Options{Store: opened, Seal: sealer, Audit: audit.NewLog(io.Discard), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for c.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	return c, opened, sealer, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	}
}

var credentials = regexp.MustCompile(`Access ID: (p-[a-z0-9]{14})\nAccess Key: ([A-Za-z0-9_-]{43})\n`)

func TestMaintenance(t *testing.T) {
	t.Parallel()
	dir, other := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	backup, log := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "audit.log")
	made, _, _, end := objects(t, storage{dataDir: dir})
	if err := bootstrap(t.Context(), slog.New(slog.DiscardHandler), made, printed{io.Discard}); err != nil {
		t.Fatal(err)
	}
	end()
	first := credentials.FindStringSubmatch(must(t, "reset-admin", "--data-dir", dir, "--audit-log", log))
	second := credentials.FindStringSubmatch(must(t, "reset-admin", "--data-dir", dir, "--audit-log", log))
	if first == nil || second == nil || first[1] == second[1] {
		t.Fatalf("credentials %q, %q", first, second)
	}
	lines, err := os.ReadFile(log)
	if err != nil || strings.Count(string(lines), `"event":"administrator-reset"`) != 2 || strings.Contains(string(lines), second[2]) {
		t.Errorf("audit log %q, %v", lines, err)
	}

	if out := must(t, "backup", "--data-dir", dir, "--out", backup); !strings.Contains(out, "records are in") {
		t.Error(out)
	}
	if _, err := command(t, "backup", "--data-dir", dir, "--out", backup); err == nil {
		t.Error("a backup was replaced")
	}
	if out := must(t, "restore", "--data-dir", other, "--from", backup); !strings.Contains(out, "taken away later are back") {
		t.Errorf("what was taken away comes back silently: %s", out)
	}
	if _, err := command(t, "restore", "--data-dir", other, "--from", backup); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("restoring into a store that is not empty: %v", err)
	}
	if _, err := command(t, "reset-admin", "--data-dir", other); err == nil || !strings.Contains(err.Error(), "seal.key is missing") {
		t.Errorf("without the keys: %v", err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.key")
	must(t, "seal-key", "create", wrong)
	if _, err := command(t, "reset-admin", "--data-dir", other, "--seal-key-file", wrong); err == nil || !strings.Contains(err.Error(), "sealed with other keys") {
		t.Errorf("with other keys: %v", err)
	}
	key := filepath.Join(dir, sealKeyName)
	c, _, _, stop := objects(t, storage{dataDir: other, sealKeyFile: key})
	if _, err := c.Login(t.Context(), second[1], second[2]); err != nil {
		t.Errorf("the administrator of the backup: %v", err)
	}
	if _, err := c.Login(t.Context(), first[1], first[2]); err == nil {
		t.Error("an administrator that was replaced may log in")
	}
	stop()

	added := must(t, "seal-key", "add", key, "--in", "0s")
	id := strings.TrimSuffix(added[strings.LastIndex(added, " ")+1:], ".\n")
	if out := must(t, "reseal", "--data-dir", other, "--seal-key-file", key); out != "6 values were sealed anew.\n6 values are sealed under "+id+".\n" {
		t.Errorf("%q, the new key is %s", out, id)
	}
	for want, args := range map[string][]string{
		"--out must be given":                        {"backup", "--data-dir", dir},
		"--data-dir must be given":                   {"reseal"},
		"--from must be given":                       {"restore", "--data-dir", dir},
		"--in must not be negative":                  {"seal-key", "add", key, "--in", "-1h"},
		"is there already; name a new file":          {"backup", "--data-dir", other, "--out", key},
		"--seal-key-file must be given with --etcd-": {"reset-admin", "--etcd-endpoints", "https://e"},
	} {
		if _, err := command(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	s := storage{dataDir: t.TempDir()}
	c, _, _, stop := objects(t, s)
	defer stop()
	ctx := t.Context()
	log := slog.New(slog.DiscardHandler)
	missing := handover.NewFile(filepath.Join(t.TempDir(), "missing", "credentials"))
	if err := bootstrapOnce(ctx, log, c, missing); err == nil {
		t.Error("credentials were lost")
	}
	name := filepath.Join(t.TempDir(), "credentials")
	f := flags{storage: s, adminFile: name, bootstraps: true}
	at, err := f.adminPlace()
	if err != nil {
		t.Fatal(err)
	}
	if err := bootstrap(ctx, log, c, at); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(name)
	found := credentials.FindStringSubmatch(string(content))
	if err != nil || found == nil {
		t.Fatalf("%q, %v", content, err)
	}
	if _, err := c.Login(ctx, found[1], found[2]); err != nil {
		t.Error(err)
	}
	if err := bootstrapOnce(ctx, log, c, at); err != nil {
		t.Errorf("the second start: %v", err)
	}
}

// A gateway that got the key file late sealed under the old key after the others had
// sealed everything under the new one.
func TestResealFindsWhatALateGatewaySealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storage{dataDir: dir}
	c, opened, sealer, stop := objects(t, s)
	defer stop()
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	if err := bootstrap(ctx, log, c, printed{io.Discard}); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, sealKeyName)
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "old.key")
	if err := os.WriteFile(old, content, 0o600); err != nil {
		t.Fatal(err)
	}
	late, err := seal.New(seal.Options{File: old, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	must(t, "seal-key", "add", key, "--in", "0s")
	if err := sealer.Refresh(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", seal.Prefix + "late"} {
		if name != "" {
			value, err := late.Seal(name, []byte("value"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := opened.Commit(ctx, store.Create(name, value)); err != nil {
				t.Fatal(err)
			}
		}
		if err := resealOnce(ctx, log, opened, sealer, sealer.Current()); err != nil {
			t.Fatal(err)
		}
		usage, err := seal.Survey(ctx, opened)
		if err != nil || len(usage) != 1 || usage[sealer.Current()] == 0 {
			t.Errorf("%v, %v", usage, err)
		}
	}
}

// A key file that lacks one of several keys opens some values, and is noticed before
// one that it does not open is asked for.
func TestEveryKeyInUseMustBeThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storage{dataDir: dir}
	c, opened, sealer, stop := objects(t, s)
	log := slog.New(slog.DiscardHandler)
	if err := bootstrap(t.Context(), log, c, printed{io.Discard}); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, sealKeyName)
	both := must(t, "seal-key", "add", key, "--in", "0s")
	id := strings.TrimSuffix(both[strings.LastIndex(both, " ")+1:], ".\n")
	before := sealer.Current()
	if err := sealer.Refresh(); err != nil {
		t.Fatal(err)
	}
	name := seal.Prefix + "value/z"
	value, err := sealer.Seal(name, []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened.Commit(t.Context(), store.Create(name, value)); err != nil {
		t.Fatal(err)
	}
	stop()
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, missing := range []string{before, id} {
		var lines []string
		for line := range strings.Lines(string(content)) {
			if !strings.HasPrefix(line, missing+" ") {
				lines = append(lines, line)
			}
		}
		other := storage{dataDir: dir, sealKeyFile: filepath.Join(t.TempDir(), "seal.key")}
		if err := os.WriteFile(other.sealKeyFile, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := other.openSealed(t.Context(), log); err == nil || !strings.Contains(err.Error(), "sealed with other keys") || !strings.Contains(err.Error(), missing) {
			t.Errorf("without the key %s: %v", missing, err)
		}
	}
}

// A wrong folder is noticed when a backup is made, not when it is needed.
func TestMaintenanceWantsAStoreThatIsThere(t *testing.T) {
	t.Parallel()
	for _, act := range []string{"backup", "reseal", "reset-admin"} {
		wrong := t.TempDir()
		args := []string{act, "--data-dir", wrong}
		if act == "backup" {
			args = append(args, "--out", filepath.Join(t.TempDir(), "out"))
		}
		if out, err := command(t, args...); err == nil {
			t.Errorf("%s of a folder without a database: %q", act, out)
		}
		if left, err := os.ReadDir(wrong); err != nil || len(left) > 0 {
			t.Errorf("%s made %v, %v", act, left, err)
		}
		empty, err := bolt.Open(bolt.Options{Dir: wrong})
		if err != nil {
			t.Fatal(err)
		}
		if err := empty.Close(); err != nil {
			t.Fatal(err)
		}
		if out, err := command(t, args...); err == nil || !strings.Contains(err.Error(), "the store is empty") {
			t.Errorf("%s of an empty database: %q, %v", act, out, err)
		}
	}
}

// Signing keys are sealed like everything else, and in backups.
func TestSigningKeysAreInTheStore(t *testing.T) {
	t.Parallel()
	f := flags{storage: storage{dataDir: t.TempDir()}}
	_, opened, sealer, stop := objects(t, f.storage)
	defer stop()
	kept, _, err := f.signingKeys(opened, sealer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Keys(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	found, err := opened.List(t.Context(), store.Query{Prefix: seal.Prefix + "session-keys", Limit: 2})
	if err != nil || len(found.Items) != 1 || bytes.Contains(found.Items[0].Value, []byte("PRIVATE KEY")) {
		t.Errorf("%d records, %v", len(found.Items), err)
	}
	if left, err := filepath.Glob(filepath.Join(f.dataDir, "signing-keys*")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestRotateSigningKey(t *testing.T) {
	t.Parallel()
	f := flags{storage: storage{dataDir: t.TempDir()}}
	const act = "rotate-signing-key"
	c, opened, sealer, stop := objects(t, f.storage)
	if err := bootstrap(t.Context(), slog.New(slog.DiscardHandler), c, printed{io.Discard}); err != nil {
		t.Fatal(err)
	}
	if _, err := (&maintenance.Keeper{SigningKeys: keys.NewStored(opened, sealer, 0), Audit: audit.NewLog(io.Discard)}).RotateSigningKey(t.Context()); err == nil {
		t.Error("a key was made where no gateway has made one")
	}
	kept, _, err := f.signingKeys(opened, sealer)
	if err != nil {
		t.Fatal(err)
	}
	first, err := kept.Keys(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for range 2 { // the second has nothing to do
		out := must(t, act, "--data-dir", f.dataDir)
		if _, text, ok := strings.Cut(out, "it signs from "); !ok {
			t.Errorf("%q", out)
		} else if from, err := time.Parse(time.RFC3339, strings.TrimSuffix(text, " on.\n")); err != nil || time.Until(from) < keys.Ahead-time.Minute {
			t.Errorf("%q, %v", out, err)
		}
	}
	must(t, act, "--data-dir", f.dataDir, "--stolen")
	_, opened, sealer, stop = objects(t, f.storage)
	defer stop()
	if now, err := keys.NewStored(opened, sealer, 0).Keys(t.Context(), nil); err != nil || len(now) != 1 || keys.Same(now, first) {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := command(t, act, "--signing-keys-secret", "name", "--kubeconfig", "/does/not/exist"); err == nil || !strings.Contains(err.Error(), "--signing-keys-secret") {
		t.Errorf("without a cluster: %v", err)
	}
}

// Audit logs are collected, and read by people who should not be administrators.
func TestCredentialsStayOutOfTheAuditLog(t *testing.T) {
	t.Parallel()
	for log, want := range map[string]*os.File{"-": os.Stderr, "audit.log": os.Stdout} {
		at, err := (&flags{auditLog: log, bootstraps: true}).adminPlace()
		if to, ok := at.(printed); err != nil || !ok || to.out != want {
			t.Errorf("with --audit-log %s they go to %v: %v", log, at, err)
		}
	}
	c, _, _, stop := objects(t, storage{dataDir: t.TempDir()})
	defer stop()
	var out strings.Builder
	for range 2 {
		if err := bootstrap(t.Context(), slog.New(slog.DiscardHandler), c, printed{&out}); err != nil {
			t.Fatal(err)
		}
	}
	found := credentials.FindAllStringSubmatch(out.String(), -1)
	if len(found) != 1 {
		t.Fatalf("told %d times: %q", len(found), out.String())
	}
	if _, err := c.Login(t.Context(), found[0][1], found[0][2]); err != nil {
		t.Error(err)
	}
}

func TestOwnAddress(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for listen, want := range map[string]string{
		"127.0.0.1:8000": "https://127.0.0.1:8000", "[::1]:80": "https://[::1]:80", "gw.example:1": "https://gw.example:1",
		":8000": "https://" + host + ":8000", "0.0.0.0:8000": "https://" + host + ":8000", "[::]:8000": "https://" + host + ":8000", "x": "",
	} {
		if got, err := ownAddress(listen); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", listen, got, err)
		}
	}
}
