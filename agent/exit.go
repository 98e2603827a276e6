package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/line"
	"github.com/gatepass/gatepass/agent/login"
)

// ExitCode is the agent's exit status. Each has one meaning, so that a
// controller or an alert can tell them apart without reading text.
type ExitCode int

// The exit codes. They are part of the agent's contract.
const (
	// ExitOK: the session is written, or a sidecar was asked to stop after it
	// had written one.
	ExitOK ExitCode = 0
	// ExitInternal: a failure that has no code of its own.
	ExitInternal ExitCode = 1
	// ExitConfig: a flag or environment variable is missing or wrong.
	ExitConfig ExitCode = 2
	// ExitUnreachable: no answer from the gateway before the timeout.
	ExitUnreachable ExitCode = 3
	// ExitUntrusted: the gateway's certificate failed verification.
	ExitUntrusted ExitCode = 4
	// ExitDenied: the gateway denied the login.
	ExitDenied ExitCode = 5
	// ExitIdentity: the service-account token can't be read.
	ExitIdentity ExitCode = 6
	// ExitSession: the session can't be written.
	ExitSession ExitCode = 7
	// ExitFailing: the gateway was overloaded or failing until the timeout.
	ExitFailing ExitCode = 8
	// ExitForeign: what answers at the gateway's address is no gateway.
	ExitForeign ExitCode = 9
	// ExitNotReady: the command wait heard nothing from its sidecar.
	ExitNotReady ExitCode = 10

	// exitSignal plus the signal's number is the shell's custom for a process
	// that a signal ended: 130 for SIGINT, 143 for SIGTERM.
	exitSignal = 128
)

// Error is an error with the exit code that stands for it.
type Error struct {
	Code ExitCode
	Err  error
}

func (f *Error) Error() string { return f.Err.Error() }

// Unwrap returns the error without its code.
func (f *Error) Unwrap() error { return f.Err }

// SignalError is the cause of a context that a signal ended.
type SignalError struct{ Number syscall.Signal }

func (s SignalError) Error() string {
	return fmt.Sprintf("stopped by signal %d (%s) before the session was written", int(s.Number), s.Number)
}

// Code returns the exit code for what Run or New returned.
func Code(err error) ExitCode {
	if err == nil {
		return ExitOK
	}
	if s, ok := errors.AsType[SignalError](err); ok {
		return exitSignal + ExitCode(s.Number)
	}
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Code
	}
	return ExitInternal
}

func exitCode(err error) ExitCode {
	failed, ok := errors.AsType[*login.Error](err)
	if !ok {
		return ExitInternal
	}
	switch failed.Kind {
	case login.Unreachable:
		return ExitUnreachable
	case login.Untrusted:
		return ExitUntrusted
	case login.Denied:
		return ExitDenied
	case login.Failing:
		return ExitFailing
	case login.Foreign:
		return ExitForeign
	}
	return ExitInternal
}

// MaxMessage bounds a termination message, in bytes: the kubelet cuts longer
// ones (MaxContainerTerminationMessageLength in its pkg/kubelet/container).
const MaxMessage = 4096

const messagePrefix = "gatepass-agent: "

// Message puts err on one line of at most MaxMessage bytes.
func Message(err error) string {
	return line.Fold(messagePrefix+strings.ReplaceAll(err.Error(), "\n", "; "), MaxMessage)
}

// WriteMessage leaves message for the kubelet to find. The kubelet's default
// file is never created: where it does not exist, nobody will read it.
func WriteMessage(path, message string) error {
	flags := os.O_WRONLY | os.O_TRUNC
	if path != config.DefaultTerminationMessageFile {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o644) //nolint:gosec // G304: the path is the configuration's
	if errors.Is(err, fs.ErrNotExist) && path == config.DefaultTerminationMessageFile {
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing the termination message: %w", err)
	}
	_, err = f.WriteString(message)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the termination message: %w", err)
	}
	return nil
}
