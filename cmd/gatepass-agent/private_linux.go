package main

import "syscall"

// makePrivate keeps other processes of the agent's user and group out of its
// memory and, by /proc/PID/root, out of its mounts. In a pod with
// shareProcessNamespace the application is such a process, and would find the
// projected token there. The image's mode of the program, 0111, does the same from
// the first instant on; this holds for other builds and images, too. See PR_SET_DUMPABLE in prctl(2) and "ptrace access mode
// checking" in ptrace(2). There will be no core dump either.
func makePrivate() error {
	const notDumpable = 0
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, notDumpable, 0); errno != 0 {
		return errno
	}
	return nil
}
