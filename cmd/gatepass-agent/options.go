package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/gatepass/gatepass/agent"
	"github.com/gatepass/gatepass/agent/config"
)

// request says what the command line asks for.
type request int

const (
	doWork request = iota
	showHelp
	showVersion
	waitForSession
)

// options reads the environment, and then the flags, which win. The Config is
// usable for saying where a failure is reported even if there is an error.
func options(args []string, env func(string) (string, bool)) (config.Config, request, error) {
	cfg, envErr := config.FromEnv(env)
	flags := flag.NewFlagSet("gatepass-agent", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, s := range config.Settings() {
		flags.Func(s.Flag, s.Usage, func(v string) error { return s.Set(&cfg, v) })
	}
	wantVersion := flags.Bool("version", false, "print the version and exit")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return cfg, showHelp, nil
	case err == nil && *wantVersion:
		return cfg, showVersion, nil
	case err == nil && flags.NArg() == 1 && flags.Arg(0) == config.WaitCommand:
		return cfg, waitForSession, envErr
	case err != nil:
		err = fmt.Errorf("%w; see --help", err)
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))
	}
	return cfg, doWork, errors.Join(envErr, err)
}

func help(w io.Writer) {
	fmt.Fprint(w, `gatepass-agent logs this pod in to its gateway and writes the session token to
a file. The webhook adds it to pods; nothing needs to be set by hand there.

Usage:
  gatepass-agent [flags]        log in, and in mode sidecar keep the session fresh
  gatepass-agent [flags] wait   block until the sidecar has written its first
                                session; it is the sidecar's postStart hook

Example:
  gatepass-agent --gateway-url https://gatepass-gateway.gatepass-system.svc:8000 \
    --ca-bundle "$(cat ca.crt)" --access-id p-abcdefghij12km --auth-config k8s-conf \
    --identity-file /var/run/gatepass-identity/token --token-file /var/run/gatepass/token

Settings (a flag wins over its environment variable):
`)
	defaults := config.Default()
	for _, s := range config.Settings() {
		fmt.Fprintf(w, "  --%s, %s\n        %s", s.Flag, s.Env, s.Usage)
		if v := s.Get(&defaults); v != "" {
			fmt.Fprintf(w, " (default %s)", v)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, `  --version
        print the version and exit
HTTPS_PROXY and NO_PROXY are honoured.

Exit codes:
  %3d  the session is written; for a sidecar: it was asked to stop later
  %3d  another failure
  %3d  a setting is missing or wrong
  %3d  the gateway can't be reached
  %3d  the gateway's certificate failed verification
  %3d  the gateway denied the login
  %3d  the service-account token can't be read
  %3d  the session can't be written
  %3d  the gateway was overloaded or failing until the timeout
  %3d  what answers at the gateway's address is no gateway
  %3d  wait: the sidecar said nothing within the timeout
  130, 143  stopped by SIGINT, SIGTERM before the session was written
The cause of a failure is also the container's termination message.
`, agent.ExitOK, agent.ExitInternal, agent.ExitConfig, agent.ExitUnreachable, agent.ExitUntrusted,
		agent.ExitDenied, agent.ExitIdentity, agent.ExitSession, agent.ExitFailing, agent.ExitForeign, agent.ExitNotReady)
}
