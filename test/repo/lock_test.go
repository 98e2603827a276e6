package repo_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/repo"
)

func TestALockIsHeldByOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new folder", "lock")
	release, err := repo.Lock(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	waited := 0
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := repo.Lock(ctx, path, func() { waited++ }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second holder: got %v", err)
	}
	if waited != 1 {
		t.Errorf("told %d times that it waits; want once", waited)
	}
	release()
	release, err = repo.Lock(t.Context(), path, func() { t.Error("a free lock makes nobody wait") })
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestCacheFollowsItsVariable(t *testing.T) {
	t.Setenv("GATEPASS_CACHE", "/somewhere/else")
	if got, err := repo.Cache(); err != nil || got != "/somewhere/else" {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("GATEPASS_CACHE", "")
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := repo.Cache(); err != nil || got != filepath.Join(root, ".cache") {
		t.Errorf("got %q, %v", got, err)
	}
}
