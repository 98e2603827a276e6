// Command build makes the servers of the test bed ready. Run it in the folder
// test/:
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
	certManager := flag.Bool("cert-manager", false, "also build cert-manager")
	node := flag.Bool("node", false, "also build the parts of a node that runs pods, and all add-ons")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	parts, addOns := servers.ControlPlane(), []string(nil)
	if *certManager {
		addOns = []string{servers.CertManager}
	}
	if *node {
		parts, addOns = append(parts, servers.Node()...), servers.AddOns()
	}
	// A folder of the user's own holds no add-ons, so they are asked for apart.
	dir, err := servers.Ensure(ctx, servers.Options{Kubernetes: *kubernetes, Parts: parts, Out: os.Stdout})
	if err == nil && len(addOns) > 0 {
		_, err = servers.Ensure(ctx, servers.Options{Kubernetes: *kubernetes, Parts: addOns, Out: os.Stdout})
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Println("The servers are ready in", dir)
}
