// Command gatepass is for people: administrators who install Gatepass and
// developers whose pods use it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "gatepass:", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailure)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatepass",
		Short: "Sessions for Kubernetes pods, from the command line",
		Long: `gatepass is the command line of Gatepass, which starts annotated Kubernetes
pods with a session.`,
		Example: `  gatepass auth --access-id p-abcdefghij12km --access-type k8s \
    --gateway-url https://gatepass-gateway.gatepass-system.svc:8000 --k8s-auth-config-name k8s-conf
  gatepass completion bash > /etc/bash_completion.d/gatepass`,
		// main prints the error, once and without the whole help.
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; see gatepass --help", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(
		newAuthCommand(),
		newInjectCommand(),
		newVersionCommand(),
	)
	return root
}

// noArguments refuses arguments as a mistake of usage.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		// The argument is not repeated: after a stray space it may be a token.
		return usageError{fmt.Errorf("%d arguments where none is expected; see %s --help", len(args), cmd.CommandPath())}
	}
	return nil
}
