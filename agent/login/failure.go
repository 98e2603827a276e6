package login

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/agent/trust"
)

// Kind says what went wrong, and so who can do something about it.
type Kind int

// The kinds of failure.
const (
	// Unreachable: no complete answer came back.
	Unreachable Kind = iota + 1
	// Untrusted: the server's certificate failed verification, and nothing
	// was sent to it.
	Untrusted
	// Denied: the gateway refused the login.
	Denied
	// Failing: the gateway is overloaded or has an error of its own.
	Failing
	// Foreign: what answered does not speak the gateway's protocol.
	Foreign
)

// Transient reports whether waiting may help.
func (k Kind) Transient() bool { return k == Unreachable || k == Failing }

// Error is a failed login.
type Error struct {
	Kind Kind
	// Status is the HTTP status; 0 if there was no answer.
	Status int
	// Reason is one line for a person: the cause and what to do. It holds no
	// secret, even if the server sent one back.
	Reason string
	// RetryAfter is the wait that the server asked for; 0 if it did not.
	RetryAfter time.Duration

	err error
}

func (e *Error) Error() string { return e.Reason }

// Unwrap returns the error of the network below, if that is what failed. Its
// text is not safe to log.
func (e *Error) Unwrap() error { return e.err }

// cleaned returns e without secrets in its reason.
func (e *Error) cleaned(clean scrubber) *Error {
	e.Reason = clean.text(e.Reason)
	return e
}

// unanswered explains an error that came instead of an answer.
func (c *Client) unanswered(err error, now time.Time) *Error {
	if reason, ok := trust.Explain(err, c.host, now); ok {
		return &Error{Kind: Untrusted, Reason: reason, err: err}
	}
	// The URL is known; what is below says more.
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return &Error{Kind: Unreachable, Reason: fmt.Sprintf("%s can't be reached: %s", c.where(), describe(err)), err: err}
}

// where names the gateway and the way to it.
func (c *Client) where() string {
	at := "the gateway at " + c.options.URL
	if c.proxy != "" {
		at += " through the proxy " + c.proxy
	}
	return at
}

func describe(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case dns.IsNotFound:
			return fmt.Sprintf("DNS knows no host %q; check the address", dns.Name)
		case dns.IsTimeout:
			return fmt.Sprintf("looking up %q got no answer; check that the pod may reach the cluster's DNS", dns.Name)
		}
		return fmt.Sprintf("looking up %q failed; check the address, and the cluster's DNS", dns.Name)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		return "what listens there does not speak TLS; check the port in the gateway's url"
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return fmt.Sprintf("it refused the TLS handshake (%s)", alert.Error())
	}
	op, _ := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused; is the gateway running, and is this its port?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it; check the network and NetworkPolicies"
	case op != nil && op.Op == "dial" && op.Timeout():
		return "connecting timed out; check NetworkPolicies and firewalls between this pod and the gateway"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return "no answer in time; it is overloaded, or the way to it drops packets"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it closed the connection early; it may be starting or overloaded"
	}
	return err.Error()
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}

// maxReason bounds a reason that a server gave, in bytes.
const maxReason = 1000
