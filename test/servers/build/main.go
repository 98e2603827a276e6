// Command build makes the Kubernetes servers of the test bed ready. Run it in
// the folder test/:
//
//	go run ./servers/build
//	go run ./servers/build -kubernetes v1.35 -node
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/gatepass/gatepass/test/servers"
)

func main() {
	kubernetes := flag.String("kubernetes", "", "version folder in test/servers; default: $"+servers.EnvKubernetes+", else "+servers.DefaultKubernetes)
	node := flag.Bool("node", false, "also build the parts of a node that runs pods")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	parts := servers.ControlPlane()
	if *node {
		parts = append(parts, servers.Node()...)
	}
	dir, err := servers.Ensure(ctx, servers.Options{Kubernetes: *kubernetes, Parts: parts, Out: os.Stdout})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Println("The Kubernetes servers are ready in", dir)
}
