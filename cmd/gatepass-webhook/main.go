// Command gatepass-webhook is the mutating admission webhook that gives
// annotated pods a session.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// gcPercent has the collector run when half as much garbage has come up as is alive,
// unless GOGC says otherwise. The largest reviews at a time are some 46 MiB of live
// memory (heavyBudget of package webhook): as much garbage again would take a process
// under attack above 128 MiB.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gatepass-webhook:", err)
		os.Exit(1)
	}
}
