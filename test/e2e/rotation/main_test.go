//go:build e2e

// Package rotation_test has the kubelet replace projected tokens.
//
// By time it does so when a fifth of a token's life is left, after 8 minutes at
// the earliest, as Kubernetes makes no token shorter than 10. The kubelet here has
// a clock that is fast, and nothing else is changed: it believes that most
// of a new token's life has gone by.
package rotation_test

import (
	"os"
	"testing"

	"github.com/gatepass/gatepass/test/bed"
)

var shared *bed.Bed

func TestMain(m *testing.M) { os.Exit(bed.Main(m, bed.Options{KubeletAhead: true}, &shared)) }
