// Command demo shows Gatepass at work on a real Kubernetes API server: from an
// annotated pod to the session that its application reads. `make demo` runs it.
//
// Everything that it starts is stopped when it ends, also on Ctrl-C.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/test/container"
)

// patience bounds the whole story, builds of the Kubernetes servers excepted:
// `make demo` makes them before.
const patience = 5 * time.Minute

func main() {
	if err := container.Init(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, patience)
	err := tell(ctx, newNarrator(os.Stdout))
	interrupted := errors.Is(context.Cause(ctx), context.Canceled)
	cancel()
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "Interrupted; everything is stopped.")
		os.Exit(130) // 128 + SIGINT, as a shell reports it
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
