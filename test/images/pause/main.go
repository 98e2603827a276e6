// Command pause holds a pod's namespaces until it is told to end. Where the
// containers of a pod share one process namespace it is their process 1, so it
// also takes note of orphans that ended, which would stay as zombies otherwise.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for {
		reap() // also what ended before this program listened
		select {
		case <-end:
			return
		case <-ended:
		}
	}
}

// reap waits for all children that have ended: one signal may stand for several.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 && err != syscall.EINTR {
			return
		}
	}
}
