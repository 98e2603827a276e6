package product

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gatepass/gatepass/test/process"
)

// AgentOptions describe one run of gatepass-agent.
type AgentOptions struct {
	// Env is the whole environment. GATEPASS_TERMINATION_MESSAGE_FILE is
	// added unless it is there: /dev/termination-log is the kubelet's.
	Env  []string
	Args []string
	// Path is another file to run, for example one that makes a container for
	// the agent. Name is what messages then call it.
	Path, Name  string
	SysProcAttr *syscall.SysProcAttr
}

// AgentResult is how a run ended.
type AgentResult struct {
	ExitCode int
	// Logs is everything that it wrote.
	Logs string
	// TerminationMessage is what `kubectl describe pod` would show.
	TerminationMessage string
}

// StartAgent starts gatepass-agent and returns at once.
func (p *Product) StartAgent(o AgentOptions) (*process.Process, error) {
	if o.Path == "" {
		o.Path = p.Path(Agent)
	}
	if o.Name == "" {
		o.Name = Agent
	}
	return process.Start(process.Options{
		Name: p.seen.next(o.Name), Path: o.Path, Args: o.Args, Env: o.Env,
		Guard: p.guard, SysProcAttr: o.SysProcAttr,
	})
}

// RunAgent runs gatepass-agent to its end. An exit code other than 0 is a
// result, not an error.
func (p *Product) RunAgent(ctx context.Context, o AgentOptions) (AgentResult, error) {
	dir, err := os.MkdirTemp(p.guard.Dir(), "agent-")
	if err != nil {
		return AgentResult{}, fmt.Errorf("run the agent: %w", err)
	}
	message := filepath.Join(dir, "termination-log")
	if err := os.WriteFile(message, nil, 0o600); err != nil { // the kubelet creates it, too
		return AgentResult{}, fmt.Errorf("run the agent: %w", err)
	}
	// The last of two equal variables wins, so o.Env comes last.
	o.Env = append([]string{"GATEPASS_TERMINATION_MESSAGE_FILE=" + message}, o.Env...)
	agent, err := p.StartAgent(o)
	if err != nil {
		return AgentResult{}, err
	}
	code, err := agent.ExitCode(ctx)
	if err != nil {
		return AgentResult{}, errors.Join(err, agent.Kill())
	}
	last, err := os.ReadFile(message)
	return AgentResult{ExitCode: code, Logs: agent.Logs(), TerminationMessage: string(last)}, err
}
