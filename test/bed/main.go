package bed

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/gatepass/gatepass/test/machine"
)

// Main runs a package's tests with one test bed for all of them, in a machine
// of its own. It returns the exit code for TestMain:
//
//	var shared *bed.Bed
//
//	func TestMain(m *testing.M) { os.Exit(bed.Main(m, bed.Options{}, &shared)) }
//
// When a test fails, logs are kept and named.
func Main(m *testing.M, o Options, shared **Bed) int {
	return machine.Run(machine.Options{Programs: Programs()}, func() (code int) {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		b, err := Start(ctx, o)
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			return 1
		}
		*shared = b
		defer func() {
			if err := b.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "error: stop the test bed:", err)
				code = max(code, 1)
			}
		}()
		if code = m.Run(); code != 0 {
			fmt.Fprintln(os.Stderr, "Logs of the cluster and its pods are in", b.Keep(filepath.Base(os.Args[0])))
		}
		return code
	})
}
