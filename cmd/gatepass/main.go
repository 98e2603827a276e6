// Command gatepass is for people: administrators who install Gatepass and
// developers whose pods use it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
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
	for line := range strings.Lines(err.Error()) { // every mistake has one
		fmt.Fprintln(os.Stderr, "gatepass:", strings.TrimSuffix(line, "\n"))
	}
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
pods with a session.

Commands that ask the gateway something find it, and their session, by flags, by
the session that an agent put into the pod (GATEPASS_TOKEN_FILE), or by a profile
that gatepass configure wrote.

Exit codes: 0 done, 1 not done, 2 a mistake on the command line.`,
		Example: `  gatepass auth --access-id p-abcdefghij12km --access-type k8s \
    --gateway-url https://gatepass-gateway.gatepass-system.svc:8000 --k8s-auth-config-name k8s-conf
  gatepass create-auth-method-k8s -n my-k8s-auth-method --bound-namespaces my-namespace-a --json
  gatepass get-secret-value -n /demo/app/db-password
  gatepass completion bash > /etc/bash_completion.d/gatepass`,
		// main prints the error, once and without the whole help.
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// No command has another.
		PersistentPreRunE: refuseEmpty,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		// The flags of a command that does not exist are unknown to the one above it.
		if given := cmd.Flags().Args(); cmd.HasSubCommands() && len(given) > 0 {
			return unknownCommand(cmd, given)
		}
		return usageError{fmt.Errorf("%s; see %s --help", flagProblem(err), cmd.CommandPath())}
	})
	for _, group := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{groupLogin, "Logging in:", []*cobra.Command{newAuthCommand(), newConfigureCommand(), newProfileGroup()}},
		{groupItems, "Secrets:", newItemCommands()},
		{groupMethods, "Auth methods:", append(newMethodCommands(), newMethodGroup())},
		{groupConfigs, "Kubernetes auth configs:", newConfigCommands()},
		{groupRoles, "Roles:", newRoleCommands()},
		{groupSessions, "Sessions and settings:", newSessionCommands()},
		{groupOthers, "Other commands:", []*cobra.Command{newInjectCommand(), newPodsCommand(), newVersionCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for _, cmd := range group.commands {
			cmd.GroupID = group.id
			root.AddCommand(cmd)
		}
	}
	root.SetCompletionCommandGroupID(groupOthers)
	root.SetHelpCommandGroupID(groupOthers)
	return root
}

// The groups that --help lists commands in.
const (
	groupLogin    = "login"
	groupItems    = "items"
	groupMethods  = "methods"
	groupConfigs  = "configs"
	groupRoles    = "roles"
	groupSessions = "sessions"
	groupOthers   = "others"
)

// newGroup makes a command that only has others.
func newGroup(use, short, example string) *cobra.Command {
	return &cobra.Command{
		Use:     use,
		Short:   short,
		Example: example,
		Args:    unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{fmt.Errorf("which command? See %s --help", cmd.CommandPath())}
		},
	}
}

// unknownCommand refuses arguments of a command that only has others.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	meant := ""
	cmd.SuggestionsMinimumDistance = 2 // cobra's own default, which it sets elsewhere
	if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		meant = " (did you mean " + strings.Join(names, " or ") + "?)"
	}
	return usageError{fmt.Errorf("unknown command%s%s; see %s --help", word(args[0]), meant, cmd.CommandPath())}
}

// noArguments refuses arguments as a mistake of usage.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if slices.ContainsFunc(args, func(arg string) bool { return arg == "true" || arg == "false" }) {
		hint = "; write a flag's true or false with =, as in --flag=false"
	}
	// The argument is not repeated: after a stray space it may be a token.
	return usageError{fmt.Errorf("%d arguments where none is expected%s; see %s --help", len(args), hint, cmd.CommandPath())}
}
