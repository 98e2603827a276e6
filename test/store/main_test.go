// Package store_test holds the gateway's stores to what only real servers and
// real crashes show.
package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/test/servers"
)

var etcdBinary string

func TestMain(m *testing.M) {
	dir, err := servers.Ensure(context.Background(), servers.Options{Parts: []string{"etcd"}, Out: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	etcdBinary = filepath.Join(dir, "etcd")
	goleak.VerifyTestMain(m)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
