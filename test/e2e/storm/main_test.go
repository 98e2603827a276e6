//go:build e2e

// Package storm_test has everybody come at once.
package storm_test

import (
	"os"
	"testing"

	"github.com/gatepass/gatepass/test/bed"
)

var shared *bed.Bed

func TestMain(m *testing.M) { os.Exit(bed.Main(m, bed.Options{}, &shared)) }
