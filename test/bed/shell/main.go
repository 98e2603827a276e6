// Command shell starts the end-to-end test bed, a cluster of one node with
// Gatepass in it, and a shell in which kubectl reaches it. The cluster ends with
// the shell. As root, in the folder test/:
//
//	go run ./bed/shell
//	go run ./bed/shell -c 'kubectl get pods -A'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/gatepass/gatepass/test/bed"
	"github.com/gatepass/gatepass/test/machine"
)

func main() {
	bare := flag.Bool("bare", false, "leave Gatepass out")
	command := flag.String("c", "", "run this command instead of an interactive shell")
	flag.Parse()
	os.Exit(machine.Run(machine.Options{Programs: bed.Programs()}, func() int {
		code, err := run(*bare, *command)
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			return max(code, 1)
		}
		return code
	}))
}

func run(bare bool, command string) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	b, err := bed.Start(ctx, bed.Options{Bare: bare})
	stop()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	args := []string{"-i"}
	if command != "" {
		args = []string{"-c", command}
	}
	shell := exec.Command("/bin/bash", args...) //nolint:noctx // it ends when its user says so
	shell.Env = append(os.Environ(), "KUBECONFIG="+b.Kubeconfig, "PATH="+b.Binaries()+":"+os.Getenv("PATH"), "PS1=gatepass-bed# ")
	shell.Stdin, shell.Stdout, shell.Stderr = os.Stdin, os.Stdout, os.Stderr
	// An interrupt is the shell's affair.
	signal.Ignore(os.Interrupt)
	err = shell.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}
