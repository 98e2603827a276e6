// Command gatepass-agent logs a pod in to its gateway and writes the session
// where the application reads it.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/gatepass/gatepass/agent"
	"github.com/gatepass/gatepass/agent/config"
)

// version is set when a release is built (-X main.version=…).
var version string

func main() {
	if err := makePrivate(); err != nil {
		fmt.Fprintln(os.Stderr, "The agent can't hide its memory and mounts from other processes of its user:", err)
		os.Exit(int(agent.ExitInternal))
	}
	ctx, stop := onSignal(context.Background())
	code := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	os.Exit(int(code))
}

// onSignal returns a context that the first SIGINT or SIGTERM ends, with the
// signal as its cause. A second one ends the process.
func onSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			number, _ := s.(syscall.Signal)
			cancel(agent.SignalError{Number: number})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) agent.ExitCode {
	cfg, what, err := options(args, env)
	switch {
	case err != nil:
		err = &agent.Error{Code: agent.ExitConfig, Err: err}
	case what == showHelp:
		help(stdout)
		return agent.ExitOK
	case what == showVersion:
		fmt.Fprintln(stdout, "gatepass-agent", buildVersion())
		return agent.ExitOK
	}
	if what == waitForSession {
		return wait(ctx, cfg, err, stderr)
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	if err == nil {
		err = work(ctx, cfg, log)
	}
	if err == nil {
		return agent.ExitOK
	}
	code, message := agent.Code(err), agent.Message(err)
	log.Error("no session", "cause", message, "exit_code", int(code))
	if err := agent.WriteMessage(cfg.TerminationMessageFile, message); err != nil {
		log.Warn("the cause is in this log only", "error", err)
	}
	return code
}

// wait is a sidecar's postStart hook. It runs beside the agent, whose
// termination message says the cause and must not be overwritten.
func wait(ctx context.Context, cfg config.Config, err error, stderr io.Writer) agent.ExitCode {
	if err == nil {
		err = agent.Wait(ctx, cfg)
	}
	if err != nil {
		fmt.Fprintln(stderr, agent.Message(err))
	}
	return agent.Code(err)
}

func work(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	a, err := agent.New(agent.Options{Config: cfg, Logger: log, UserAgent: "gatepass-agent/" + buildVersion()})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
