//go:build e2e

// Package e2e_test starts real pods on a real node and looks from the inside
// at what users are promised.
package e2e_test

import (
	"os"
	"testing"

	"github.com/gatepass/gatepass/test/bed"
)

var shared *bed.Bed

func TestMain(m *testing.M) { os.Exit(bed.Main(m, bed.Options{}, &shared)) }
