// Command trespass looks into processes of its user whose name begins as its first
// argument says, and for the file of the second one through their root. It says
// when it begins, and what it found once it is told to stop, or with the third
// argument "once" when it has found a way into one.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/gatepass/gatepass/agent/gatetest/trespass"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println("looking")
	_ = json.NewEncoder(os.Stdout).Encode(trespass.Run(ctx, trespass.Options{
		Names: []string{os.Args[1]}, File: os.Args[2], Once: len(os.Args) > 3 && os.Args[3] == "once",
	}))
}
