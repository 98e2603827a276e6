// Command measure runs a program and prints, as JSON, how long it took and its
// peak resident memory.
//
// It exists because Linux counts the memory of the process that forked towards
// a child's peak (ru_maxrss survives exec): measured from a test binary, every
// program would seem as large as the test.
package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func main() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stderr = os.Stderr
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	_ = json.NewEncoder(os.Stdout).Encode(map[string]int64{
		"took_ns": took.Nanoseconds(),
		"cpu_ns":  (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Nanoseconds(),
		"rss":     usage.Maxrss << 10, // Linux counts in KiB
	})
}
