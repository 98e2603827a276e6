//go:build e2e

// Package outage_test breaks Gatepass' two servers in every way that we could
// think of, while pods are created.
package outage_test

import (
	"os"
	"testing"

	"github.com/gatepass/gatepass/test/bed"
)

var shared *bed.Bed

func TestMain(m *testing.M) { os.Exit(bed.Main(m, bed.Options{}, &shared)) }
