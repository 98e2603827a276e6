//go:build linux

// Package trespass is a process that tries to look into other processes of its
// user, as an application could that shares its pod's process namespace with the
// agent. Linux only.
package trespass

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Options say what is looked for.
type Options struct {
	// Names are the names of processes that are looked into, as in /proc/PID/comm;
	// those that begin with one of them count.
	Names []string
	// File is what is read through a process's root.
	File string
	// Once ends the search with the first process that could be looked into.
	Once bool
}

// Report is what came of it.
type Report struct {
	// Passes is how often all processes were looked through.
	Passes int `json:"passes"`
	// Seen is how many processes of the names there were, by name.
	Seen map[string]int `json:"seen"`
	// Into is how many processes could be looked into, by the way that led there.
	Into map[string]int `json:"into"`
}

// Run looks at all processes, over and over, until ctx ends.
func Run(ctx context.Context, o Options) Report {
	// ptrace belongs to a thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l := looker{Options: o, own: strconv.Itoa(os.Getpid()), seen: map[string]map[string]bool{}, into: map[string]map[string]bool{}}
	r := Report{Seen: map[string]int{}, Into: map[string]int{}}
	for ctx.Err() == nil && (!o.Once || len(l.into) == 0) {
		r.Passes++
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			if name := e.Name(); name[0] >= '1' && name[0] <= '9' && name != l.own {
				l.look(name)
			}
		}
	}
	for name, pids := range l.seen {
		r.Seen[name] = len(pids)
	}
	for way, pids := range l.into {
		r.Into[way] = len(pids)
	}
	return r
}

type looker struct {
	Options

	own string
	// seen and into hold process ids.
	seen, into map[string]map[string]bool
}

// name returns which of the names a process has; empty if none.
func (l *looker) name(pid string) string {
	comm := begin(of(pid, "comm"))
	if i := slices.IndexFunc(l.Names, func(name string) bool { return strings.HasPrefix(comm, name) }); i >= 0 {
		return l.Names[i]
	}
	return ""
}

func (l *looker) look(pid string) {
	name := l.name(pid)
	if name == "" {
		return
	}
	note(l.seen, name, pid)
	for way, try := range ways() {
		// A process may have become another program since.
		if try(pid, l.File) && l.name(pid) != "" {
			note(l.into, way, pid)
		}
	}
}

func note(to map[string]map[string]bool, key, pid string) {
	if to[key] == nil {
		to[key] = map[string]bool{}
	}
	to[key][pid] = true
}

// ways are the ways into another process. See proc(5) and "ptrace access mode
// checking" in ptrace(2).
func ways() map[string]func(pid, file string) bool {
	return map[string]func(pid, file string) bool{
		"root":    func(pid, file string) bool { return readable(of(pid, "root") + file) },
		"cwd":     func(pid, file string) bool { return readable(of(pid, "cwd") + file) },
		"task":    throughTasks,
		"environ": func(pid, _ string) bool { return readable(of(pid, "environ")) },
		"mem":     func(pid, _ string) bool { return opens(of(pid, "mem")) },
		"maps":    func(pid, _ string) bool { return readable(of(pid, "maps")) },
		"fd":      func(pid, _ string) bool { return throughFiles(pid) },
		"ptrace":  func(pid, _ string) bool { return traceable(pid) },
	}
}

// of is a file of a process.
func of(pid, name string) string { return "/proc/" + pid + "/" + name }

// readable reports whether something can be read from a file.
func readable(path string) bool { return begin(path) != "" }

// begin is a file's beginning; empty if it can't be read.
func begin(path string) string {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	var some [32]byte
	n, _ := syscall.Read(fd, some[:])
	_ = syscall.Close(fd)
	return string(some[:max(n, 0)])
}

func opens(path string) bool {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = syscall.Close(fd)
	return true
}

// throughFiles reports whether an open file of a process can be had. Root may list
// them all the same, by their numbers.
func throughFiles(pid string) bool {
	files, _ := os.ReadDir(of(pid, "fd"))
	return slices.ContainsFunc(files, func(file os.DirEntry) bool {
		_, err := os.Readlink(of(pid, "fd/"+file.Name()))
		return err == nil
	})
}

func throughTasks(pid, file string) bool {
	tasks, _ := os.ReadDir(of(pid, "task"))
	return slices.ContainsFunc(tasks, func(task os.DirEntry) bool {
		return readable(of(pid, "task/"+task.Name()+"/root") + file)
	})
}

// traceable attaches to a process without stopping it, and lets it go.
func traceable(pid string) bool {
	const seize = 0x4206 // PTRACE_SEIZE, linux/ptrace.h
	n, err := strconv.Atoi(pid)
	if err != nil {
		return false
	}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, seize, uintptr(n), 0, 0, 0, 0); errno != 0 {
		return false
	}
	const interrupt = 0x4207 // PTRACE_INTERRUPT: only a stopped process can be let go
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PTRACE, interrupt, uintptr(n), 0, 0, 0, 0)
	var status syscall.WaitStatus
	_, _ = syscall.Wait4(n, &status, syscall.WALL, nil)
	_ = syscall.PtraceDetach(n)
	return true
}
