package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// DefaultGrace is how long Stop waits for a process before it kills it.
const DefaultGrace = 20 * time.Second

// Options describes a program to run.
type Options struct {
	// Name is for messages and for the pid file; unique among the guard's.
	Name string
	Path string
	Args []string
	// Env is the whole environment; nothing is inherited.
	Env []string
	// Guard ends the process if the test dies.
	Guard *Guard
	// Grace is DefaultGrace if it is zero.
	Grace time.Duration
	// SysProcAttr is optional.
	SysProcAttr *syscall.SysProcAttr
}

// Process is a running program.
type Process struct {
	name  string
	cmd   *exec.Cmd
	guard *Guard
	grace time.Duration
	logs  *Logs
	done  chan struct{}
	err   error // of Wait; read after done is closed
}

// Start runs a program and returns at once.
func Start(o Options) (*Process, error) {
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	logs := &Logs{}
	cmd := exec.Command(o.Path, o.Args...) //nolint:noctx // Stop and the guard end it; a context could only kill it
	cmd.Env = append([]string{}, o.Env...)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.SysProcAttr = o.SysProcAttr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	p := &Process{name: o.Name, cmd: cmd, guard: o.Guard, grace: o.Grace, logs: logs, done: make(chan struct{})}
	err := os.WriteFile(o.Guard.PIDFile(o.Name), []byte(strconv.Itoa(p.PID())), 0o600)
	go p.wait()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", o.Name, err), p.Kill())
	}
	return p, nil
}

func (p *Process) wait() {
	p.err = p.cmd.Wait()
	_ = os.Remove(p.guard.PIDFile(p.name)) // its number may soon be another process's
	close(p.done)
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Logs is what the process has written to stdout and stderr so far.
func (p *Process) Logs() string { return p.logs.String() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode waits for the process's end; -1 means that a signal ended it.
func (p *Process) ExitCode(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%s (pid %d) has not ended: %w", p.name, p.PID(), ctx.Err())
	}
}

// Terminate sends SIGTERM and returns at once.
func (p *Process) Terminate() error { return p.signal(syscall.SIGTERM) }

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() error {
	err := p.signal(syscall.SIGKILL)
	<-p.done
	return err
}

func (p *Process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s (pid %d): %w", p.name, p.PID(), err)
	}
	return nil
}

// Stop sends SIGTERM and waits. It is an error if the process ends with
// another code than 0, or has to be killed when its grace is over. Stopping a
// process that has ended reports how it ended.
func (p *Process) Stop() error {
	if err := p.Terminate(); err != nil {
		return err
	}
	grace := time.NewTimer(p.grace)
	defer grace.Stop()
	select {
	case <-p.done:
	case <-grace.C:
		return errors.Join(fmt.Errorf("%s did not end within %s of SIGTERM and was killed; its log:\n%s", p.name, p.grace, p.Logs()), p.Kill())
	}
	if p.err != nil {
		return fmt.Errorf("%s ended with: %w; its log:\n%s", p.name, p.err, p.Logs())
	}
	return nil
}

// readyPoll is how often WaitReady asks.
const readyPoll = 20 * time.Millisecond

// WaitReady polls a plain HTTP address until it answers 200. It gives up when
// the process ends or ctx does, with the process's log in the error.
func (p *Process) WaitReady(ctx context.Context, url string) error {
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: time.Second}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		last := probe(ctx, client, url)
		if last == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready (%w); its log:\n%s", p.name, errors.Join(p.err, last), p.Logs())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w); its log:\n%s", p.name, errors.Join(ctx.Err(), last), p.Logs())
		}
	}
}

func probe(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}

// Logs collects output. It is safe for concurrent use.
type Logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends to the log.
func (l *Logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// String returns everything so far.
func (l *Logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
