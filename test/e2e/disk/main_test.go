//go:build e2e

// Package disk_test gives a gateway a data folder on a disk that is full, can't be
// written, or has been harmed.
package disk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/gatepass/gatepass/test/machine"
	"github.com/gatepass/gatepass/test/product"
)

var commands *product.Product

func TestMain(m *testing.M) {
	os.Exit(machine.Run(machine.Options{}, func() int {
		code, err := run(m)
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			code = max(code, 1)
		}
		return code
	}))
}

func run(m *testing.M) (code int, err error) {
	if commands, err = product.New(context.Background(), product.Gateway); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, commands.Close()) }()
	return m.Run(), nil
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
