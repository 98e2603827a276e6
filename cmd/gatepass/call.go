package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// call is a command that asks the gateway something.
type call struct {
	*cobra.Command
	connection connection
	json       bool
	// needed are flags that must be given.
	needed []string
	// givenOnly is whether the session must be given: by default it would be one
	// that was made for the command.
	givenOnly bool
	// prepare completes the request before it is sent.
	prepare func(*input) error
	// secrets are texts that must not be shown, whatever the gateway sends back.
	secrets []func() string
}

// newCall makes a command with the flags that all of them have.
func newCall(use, short, example string) *call {
	c := &call{Command: &cobra.Command{Use: use, Short: short, Example: example, Args: noArguments}}
	c.connection.add(c.Command)
	c.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return c
}

// need makes flags required, and says so in their help.
func (c *call) need(names ...string) {
	for _, name := range names {
		flag := c.Flags().Lookup(name)
		flag.Usage += " (required)"
		c.needed = append(c.needed, name)
	}
}

// file adds a flag that may also be a file, and puts what it says into a field of
// the request. Secret is whether nobody may see it.
func (c *call) file(t *text, to *string, secret bool) {
	earlier := c.prepare
	c.prepare = func(in *input) (err error) {
		if earlier != nil {
			if err := earlier(in); err != nil {
				return err
			}
		}
		*to, err = t.read(in)
		return err
	}
	if secret {
		c.secrets = append(c.secrets, func() string { return *to })
	}
}

// check reports all required flags that are missing.
func (c *call) check() error {
	var errs []error
	for _, name := range c.needed {
		if c.Flags().Lookup(name).Value.String() == "" {
			errs = append(errs, fmt.Errorf("--%s must be set", name))
		}
	}
	if len(errs) > 0 {
		return usageError{fmt.Errorf("%w; see %s --help", errors.Join(errs...), c.CommandPath())}
	}
	return nil
}

// handle says what the command does: it carries out a command of the API, and
// shows the answer, as JSON or as text.
func handle[A any](c *call, name string, request any, credentials *v2.Credentials, show func(io.Writer, *A) error) {
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.check(); err != nil {
			return err
		}
		answer := new(A)
		if err := c.ask(cmd.Context(), cmd.InOrStdin(), name, request, credentials, answer); err != nil {
			return err
		}
		if c.json {
			return printJSONValue(cmd.OutOrStdout(), answer)
		}
		return show(cmd.OutOrStdout(), answer)
	}
}

func (c *call) ask(ctx context.Context, stdin io.Reader, name string, request any, credentials *v2.Credentials, answer any) error {
	in := &input{stdin: stdin}
	if c.prepare != nil {
		if err := c.prepare(in); err != nil {
			return err
		}
	}
	gateway, err := c.connection.open(ctx, in, !c.givenOnly)
	if err != nil {
		return err
	}
	defer gateway.Close()
	credentials.Token = gateway.token
	secrets := []string{gateway.token}
	for _, secret := range c.secrets {
		secrets = append(secrets, secret())
	}
	err = gateway.Call(ctx, name, request, answer, secrets...)
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// sentence is what most commands that change something have to say.
func sentence[A any](format string, args ...*string) func(io.Writer, *A) error {
	return func(w io.Writer, _ *A) error {
		values := make([]any, len(args))
		for i, arg := range args {
			values[i] = cell(strings.TrimSpace(*arg))
		}
		_, err := fmt.Fprintf(w, format+"\n", values...)
		return err
	}
}
