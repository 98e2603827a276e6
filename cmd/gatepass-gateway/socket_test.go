package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/measured"
)

// resealed is told when everything is sealed under one key.
var resealed = regexp.MustCompile(`^[1-9][0-9]* values were sealed anew\.\n[1-9][0-9]* values are sealed under k[0-9a-f]+\.\n$`)

func measure(t *testing.T, s store.Store) *measured.Store {
	t.Helper()
	m, err := measured.New(s, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What a gateway has open it maintains itself; the commands are the same.
func TestMaintenanceWhileServing(t *testing.T) {
	t.Parallel()
	s := storage{dataDir: t.TempDir()}
	c, opened, sealer, stop := objects(t, s)
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	f, log := flags{storage: s}, slog.New(slog.DiscardHandler)
	var recorded strings.Builder
	go func() {
		ended <- f.maintain(ctx, background{log: log, records: measure(t, opened), sealer: sealer, objects: c, audit: audit.NewLog(&recorded)})
	}()

	made := credentials.FindStringSubmatch(must(t, "reset-admin", "--data-dir", s.dataDir))
	if made == nil {
		t.Fatal("no credentials")
	}
	for _, err := c.Login(ctx, made[1], made[2]); err != nil; _, err = c.Login(ctx, made[1], made[2]) {
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), "backup")
	if out := must(t, "backup", "--data-dir", s.dataDir, "--out", name); !strings.Contains(out, "records are in "+name) {
		t.Error(out)
	}
	if out := must(t, "check-backup", name); !strings.Contains(out, "records are in "+name) {
		t.Error(out)
	}
	streamed := must(t, "backup", "--data-dir", s.dataDir, "--out", "-")
	if _, err := store.CheckBackup(strings.NewReader(streamed)); err != nil {
		t.Errorf("standard output: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(s.dataDir, ".backup-*")); err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
	must(t, "seal-key", "add", filepath.Join(s.dataDir, sealKeyName), "--in", "0s")
	if out := must(t, "reseal", "--data-dir", s.dataDir); !resealed.MatchString(out) {
		t.Error(out)
	}
	if _, err := command(t, "restore", "--data-dir", s.dataDir, "--from", name); err == nil || !strings.Contains(err.Error(), "stop the other") {
		t.Errorf("restoring into a gateway that serves: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := strings.Count(recorded.String(), `"protocol":"maintenance"`); got != 4 {
		t.Errorf("%d lines in the audit log: %s", got, recorded.String())
	}
	if _, err := command(t, "reseal", "--data-dir", s.dataDir); err == nil || !strings.Contains(err.Error(), "one gateway at a time") || !strings.Contains(err.Error(), "there is no socket") {
		t.Errorf("neither the lock nor the socket: %v", err)
	}
}

func TestMaintenanceOfAFolderThatIsNone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"backup", "reseal"} {
		dir := filepath.Join(t.TempDir(), "typing-error")
		args := []string{name, "--data-dir", dir}
		if name == "backup" {
			args = append(args, "--out", filepath.Join(t.TempDir(), "out"))
		}
		if _, err := command(t, args...); err == nil || !strings.Contains(err.Error(), "is missing") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s made the folder", name)
		}
	}
}

// A gateway that can't have a socket serves all the same.
func TestGatewayWithoutSocket(t *testing.T) {
	t.Parallel()
	s := storage{dataDir: t.TempDir()}
	c, opened, sealer, stop := objects(t, s)
	defer stop()
	if err := os.WriteFile(filepath.Join(s.dataDir, "gateway.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	f := flags{storage: s}
	err := f.maintain(t.Context(), background{
		log: slog.New(slog.NewTextHandler(&logged, nil)), records: measure(t, opened), sealer: sealer, objects: c, audit: audit.NewLog(io.Discard),
	})
	if err != nil || !strings.Contains(logged.String(), "is not a socket") {
		t.Errorf("%v, %s", err, logged.String())
	}
}
