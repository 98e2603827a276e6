package cluster

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// Main runs a package's tests with one control plane for all of them, which
// it stores in shared. It returns the exit code for TestMain:
//
//	var shared *cluster.Cluster
//
//	func TestMain(m *testing.M) { os.Exit(cluster.Main(m, cluster.Options{}, &shared)) }
//
// Tests share the control plane, so each works in a namespace of its own.
func Main(m *testing.M, o Options, shared **Cluster) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	c, err := Start(ctx, o)
	stop() // from here on a signal ends the tests at once, and the guard cleans up
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	*shared = c
	defer func() {
		if err := c.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "error: stop the control plane:", err)
			code = max(code, 1)
		}
	}()
	return m.Run()
}
