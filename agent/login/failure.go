package login

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/gatepass/gatepass/agent/reach"
	"github.com/gatepass/gatepass/agent/trust"
)

// Kind says what went wrong, and so who can do something about it.
type Kind int

// The kinds of failure.
const (
	// Unreachable: no complete answer came back, or a proxy did not let the
	// request pass.
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
	if failed, ok := errors.AsType[*reach.ProxyError](err); ok {
		kind := Unreachable
		if failed.Untrusted {
			kind = Untrusted
		}
		return &Error{Kind: kind, Reason: failed.Error(), err: err}
	}
	if reason, ok := trust.Explain(err, c.host, reach.Gateway().Setting, now); ok {
		return &Error{Kind: Untrusted, Reason: reason, err: err}
	}
	// The URL is known; what is below says more.
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return &Error{Kind: Unreachable, Reason: fmt.Sprintf("%s can't be reached: %s", c.where(), reach.Describe(err, reach.Gateway())), err: err}
}

// where names the gateway and the way to it.
func (c *Client) where() string {
	at := "the gateway at " + c.options.URL
	if c.proxy != nil {
		at += " through " + c.proxy.String()
	}
	return at
}

// maxReason bounds a reason that a server gave, in bytes.
const maxReason = 1000
