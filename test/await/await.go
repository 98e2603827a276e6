// Package await waits in tests for what other processes do, by looking again
// and again until a deadline.
package await

import (
	"testing"
	"time"
)

const (
	// Patience is for what takes a moment on an idle machine.
	Patience = 30 * time.Second
	interval = 20 * time.Millisecond
)

// Until looks until ok returns true, and fails the test after Patience; why
// explains the failure.
func Until(t testing.TB, what string, ok func() bool, why ...func() string) {
	t.Helper()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	deadline := time.After(Patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			for _, f := range why {
				t.Log(f())
			}
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}
