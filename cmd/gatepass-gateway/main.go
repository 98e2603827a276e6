// Command gatepass-gateway exchanges Kubernetes service-account tokens for
// sessions, and secrets for those.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// The gateway keeps some megabytes and makes some 28 kB of garbage a login; at
// Go's default of 100 it collects several times a second under load. More trades
// memory for that, and much more is safe only where GOMEMLIMIT makes the collector
// work harder before the container's limit is reached. GOGC overrides both.
const (
	gcPercent        = 150
	gcPercentLimited = 400
)

// version is set when a release is built (-X main.version=…).
var version string

// buildVersion is that, or what Go knows of the build.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func main() {
	if os.Getenv("GOGC") == "" {
		percent := gcPercent
		if os.Getenv("GOMEMLIMIT") != "" {
			percent = gcPercentLimited
		}
		debug.SetGCPercent(percent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gatepass-gateway:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gatepass-gateway",
		Short: "Exchange Kubernetes service-account tokens for sessions and secrets",
		Example: `  gatepass-gateway serve --config /etc/gatepass/config.yaml --data-dir /var/lib/gatepass \
    --listen :8000 --tls-cert /etc/gatepass/tls/tls.crt --tls-key /etc/gatepass/tls/tls.key`,
		Version:       buildVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(newServeCommand())
	cmd.AddCommand(maintenanceCommands()...)
	return cmd
}
