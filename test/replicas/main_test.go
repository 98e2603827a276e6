// Package replicas_test holds several gateways on one etcd, all of them
// processes, to being one.
package replicas_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatepass/gatepass/test/product"
	"github.com/gatepass/gatepass/test/servers"
)

var (
	etcdBinary string
	commands   *product.Product
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx := context.Background()
	dir, err := servers.Ensure(ctx, servers.Options{Parts: []string{"etcd"}, Out: os.Stderr})
	if err == nil {
		etcdBinary = filepath.Join(dir, "etcd")
		commands, err = product.New(ctx, product.Gateway)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	defer func() {
		if err := commands.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			code = max(code, 1)
		}
	}()
	return m.Run()
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
