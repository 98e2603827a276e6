// Command gatepass-gateway exchanges Kubernetes service-account tokens for
// sessions.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
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
		Short: "Exchange Kubernetes service-account tokens for sessions",
		Example: `  gatepass-gateway serve --config /etc/gatepass/config.yaml --data-dir /var/lib/gatepass \
    --listen :8000 --tls-cert /etc/gatepass/tls/tls.crt --tls-key /etc/gatepass/tls/tls.key`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(newServeCommand())
	return cmd
}
