//go:build e2e

// Package life_test looks at agents for a pod's whole life: from before the
// application's start to after its end, through rotations and outages.
package life_test

import (
	"os"
	"testing"

	"github.com/gatepass/gatepass/test/bed"
)

var shared *bed.Bed

func TestMain(m *testing.M) { os.Exit(bed.Main(m, bed.Options{}, &shared)) }
