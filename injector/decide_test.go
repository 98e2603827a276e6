package injector_test

import (
	"os"
	"testing"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
)

func profiles(tb testing.TB) *profile.Set {
	tb.Helper()
	data, err := os.ReadFile("testdata/config.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	set, err := profile.Parse(data, profile.Options{ReadFile: os.ReadFile, Overridable: injector.Overridable()})
	if err != nil {
		tb.Fatal(err)
	}
	return set
}
