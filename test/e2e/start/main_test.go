//go:build e2e

// Package start_test measures what a session costs a pod's start.
package start_test

import (
	"os"
	"testing"

	"github.com/gatepass/gatepass/test/bed"
)

var shared *bed.Bed

func TestMain(m *testing.M) { os.Exit(bed.Main(m, bed.Options{}, &shared)) }
