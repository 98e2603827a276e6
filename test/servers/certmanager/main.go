// Command cert-manager runs cert-manager's own controllers in one process:
// those that issue certificates from authorities in the cluster, and the
// injector of authorities into webhook configurations. Their settings are
// cert-manager's defaults.
//
// Other issuers (ACME, Vault, CyberArk) are left out, and so is cert-manager's
// admission webhook. That one checks what people write and who approves
// requests. Nothing else needs it: each CustomResourceDefinition has one
// version, so that there is nothing to convert.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	// A set of our own: controller-runtime has a flag --kubeconfig in the global one.
	flags := flag.NewFlagSet("cert-manager", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "file of the access to the cluster; empty for a pod's own")
	namespace := flags.String("cluster-resource-namespace", "cert-manager", "namespace of the Secrets that ClusterIssuers name")
	klog.InitFlags(flags)
	_ = flags.Set("v", "2") // as cert-manager's chart has it
	_ = flags.Parse(os.Args[1:])

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *kubeconfig, *namespace)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run ends when ctx is done or when one half fails.
func run(ctx context.Context, kubeconfig, namespace string) error {
	ctrl.SetLogger(klog.Background())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	halves := []func(context.Context) error{
		func(ctx context.Context) error { return issue(ctx, kubeconfig, namespace) },
		func(ctx context.Context) error { return inject(ctx, kubeconfig) },
	}
	ends := make(chan error, len(halves))
	for _, half := range halves {
		go func() { ends <- half(ctx) }()
	}
	var first error
	for range halves {
		err := <-ends
		cancel()
		if first == nil {
			first = err
		}
	}
	return first
}
