// Package durability_test holds the gateway, as a process on a data folder, to
// keeping what it said it keeps.
package durability_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/test/product"
)

var commands *product.Product

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	var err error
	commands, err = product.New(context.Background(), product.Gateway)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	code = m.Run()
	for _, err := range []error{goleak.Find(), commands.Close()} {
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			code = max(code, 1)
		}
	}
	return code
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
