//go:build e2e

package life_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// restTime is for how long agents are looked at.
	restTime = time.Minute
	// maxResident is what users are promised, in bytes.
	maxResident = 10_000_000
	// maxTicks bounds the CPU time, in hundredths of a second (USER_HZ, the same on
	// all Linux systems that Go knows): a twelve-hundredth of one CPU.
	maxTicks = 5
)

// atRest fails the test if agents that have nothing to do take more than they may.
func atRest(t *testing.T, pods []*corev1.Pod) {
	t.Helper()
	type usage struct{ resident, ticks int }
	look := func() (all []usage) {
		for _, pod := range pods {
			pid := agentPID(t, pod)
			all = append(all, usage{resident(t, pid), ticks(t, pid)})
		}
		return all
	}
	before := look()
	<-time.After(restTime)
	var sizes, times []int
	for i, now := range look() {
		sizes = append(sizes, now.resident)
		times = append(times, now.ticks-before[i].ticks)
	}
	slices.Sort(sizes)
	slices.Sort(times)
	if got := sizes[len(sizes)-1]; got > maxResident {
		t.Errorf("an agent at rest has %d bytes of resident memory, more than %d", got, maxResident)
	}
	if got := times[len(times)-1]; got > maxTicks {
		t.Errorf("an agent took %d0 ms of CPU time in %s at rest, more than %d0 ms", got, restTime, maxTicks)
	}
	t.Logf("%d agents at rest for %s: resident memory median %d bytes, most %d; CPU time median %d0 ms, most %d0 ms",
		len(pods), restTime, sizes[len(sizes)/2], sizes[len(sizes)-1], times[len(times)/2], times[len(times)-1])
}

// resident is a process's VmRSS in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", pid))) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("process %d has no VmRSS", pid)
	return 0
}

// ticks is a process's CPU time, its own and the kernel's for it.
func ticks(t *testing.T, pid int) (sum int) {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	fields := strings.Fields(rest)
	// proc_pid_stat(5): utime and stime are fields 14 and 15, and rest begins with the 3rd.
	for _, field := range fields[14-3 : 15-3+1] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}
