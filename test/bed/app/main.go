// Command app is the application of the pods that the end-to-end tests start.
// It knows nothing of Gatepass but a file's name in an environment variable,
// and reports what it, and thus any program in its place, can see:
//
//	app            report to stdout, then wait for SIGTERM
//	app once       the report only
//	app watch 60s  the report, then read the session for a while, tell of it, and end
//	app trespass   the report, then try to look into the agent until SIGUSR1, tell of
//	               that, and wait for SIGTERM
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/gatetest/trespass"
	"github.com/gatepass/gatepass/test/bed/app/report"
	"github.com/gatepass/gatepass/test/bed/app/watch"
)

func main() {
	began := time.Now()
	mode := ""
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	if err := json.NewEncoder(os.Stdout).Encode(report.Make(began)); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	switch mode {
	case "":
		<-stop
	case "once":
	case "trespass":
		ctx, done := signal.NotifyContext(context.Background(), syscall.SIGUSR1)
		found := trespass.Run(ctx, trespass.Options{Names: []string{"gatepass-agent", "runc:"}, File: config.DefaultIdentityFile})
		done()
		if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		<-stop
	case "watch":
		if err := tell(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "error: unknown mode %q\n", mode)
		os.Exit(2)
	}
}

func tell(args []string) error {
	if len(args) != 1 {
		return errors.New("watch for how long?")
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(watch.Watch(os.Getenv("GATEPASS_TOKEN_FILE"), d))
}
