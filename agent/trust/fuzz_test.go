package trust

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/agent/gatetest"
)

// FuzzParse: a bundle is read whole or not at all, and no error holds a block of it.
func FuzzParse(f *testing.F) {
	ca := gatetest.NewAuthority(f, "ca").PEM()
	f.Add(ca)
	f.Add(ca + ca)
	f.Add(ca + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Add(ca + "-----BEGIN CERTIFICATE-----\n")
	f.Add("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")
	f.Add("text")
	f.Fuzz(func(t *testing.T, bundle string) {
		pool, err := parse(bundle)
		if (pool == nil) == (err == nil) {
			t.Fatalf("pool %v and error %v", pool, err)
		}
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("the error is %q", err)
			}
			for line := range strings.Lines(bundle) {
				if line = strings.TrimSpace(line); len(line) == 64 && strings.Contains(err.Error(), line) { // PEM's lines
					t.Errorf("the error holds %q", line)
				}
			}
			return
		}
		again, err := parse(bundle + "\n" + ca)
		if err != nil {
			t.Fatalf("a bundle that can be read can't be added to: %v", err)
		}
		if both, err := parse(ca + "\n" + bundle); err != nil || !both.Equal(again) {
			t.Errorf("the order of certificates matters: %v", err)
		}
	})
}
