package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
)

// operationTimeout bounds what an operation waits for the store. Clients wait
// longer, so they read the reason.
const operationTimeout = 2500 * time.Millisecond

// Reasons in the audit log.
const (
	reasonOK          = "ok"
	reasonNotAllowed  = "not-allowed"
	reasonNotFound    = "not-found"
	reasonExists      = "exists"
	reasonInvalid     = "invalid"
	reasonReadOnly    = "read-only"
	reasonInUse       = "in-use"
	reasonUnavailable = "store-unavailable"
	reasonUnopened    = "record-unopened"
	reasonInternal    = "internal-error"
)

// As does what a caller asks.
func (c *Catalog) As(caller Caller) Accessor { return &accessor{c, caller} }

// accessor implements Accessor.
type accessor struct {
	*Catalog
	caller Caller
}

// request is one operation of a caller, and its lines in the audit log.
type request struct {
	*accessor
	event audit.Event
	// more is set by a decision that is too much for one commit: when what it returned can
	// be seen, it decides again.
	more bool
}

// begin makes a request. What is the code of the operation, on the object's name.
func (a *accessor) begin(what, object string) *request {
	return &request{accessor: a, event: audit.Event{
		Event:    what,
		Object:   object,
		Client:   a.caller.Client,
		Protocol: a.caller.Protocol,
		AccessID: a.caller.AccessID,
		Subject:  a.caller.Subject,
		Session:  a.caller.Session,
	}}
}

// record writes a line.
func (r *request) record(result audit.Result, reason, detail string) error {
	r.event.Time = time.Now().UTC()
	r.event.Result, r.event.Reason, r.event.Detail = result, reason, detail
	if err := r.options.Audit.Write(&r.event); err != nil {
		r.options.Logger.Error("the audit log can't be written; requests are refused", "error", err)
		return ErrUnrecorded
	}
	return nil
}

// read answers with what the view has. What can't be recorded is not answered.
func (r *request) read(answer func(sight) error) error {
	err := r.Ready()
	if err != nil {
		err = ErrUnavailable
	} else {
		err = answer(r.sight(r.caller))
	}
	return r.end(err)
}

// change commits what decide makes of the view, and returns when requests to this
// gateway see it. If somebody else was faster, it decides again.
//
// The log gets a line before the commit, which could not be taken back if there was
// no room for one afterwards. If the commit fails after that, or makes something else
// because somebody was faster, another follows.
func (r *request) change(ctx context.Context, decide func(context.Context, sight) ([]store.Op, error)) error {
	if r.Ready() != nil {
		return r.end(ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	var recorded audit.Event
	for {
		r.more = false
		now := r.sight(r.caller)
		ops, err := decide(ctx, now)
		if errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
			r.overtaken(ctx, now.View)
			continue
		}
		if err != nil {
			return r.end(r.outage(err))
		}
		if r.event != recorded {
			if err := r.record(audit.Granted, reasonOK, ""); err != nil {
				return err
			}
			recorded = r.event
		}
		if len(ops) == 0 {
			return nil
		}
		revision, err := r.options.Store.Commit(ctx, ops...)
		if err == nil {
			r.await(ctx, revision)
			if !r.more {
				return nil
			}
			continue
		}
		if !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
			return r.end(r.outage(err))
		}
		r.overtaken(ctx, now.View)
	}
}

// end records how a request ended, and returns its error.
func (r *request) end(err error) error {
	result, reason := outcome(err)
	detail := ""
	if err != nil {
		detail = err.Error()
	}
	return errors.Join(err, r.record(result, reason, detail))
}

// outage hides what the store says from callers, and tells it to administrators.
func (r *request) outage(err error) error {
	if errors.Is(err, seal.ErrMissingKey) || errors.Is(err, seal.ErrBroken) {
		r.options.Logger.Error("a record does not open", "operation", r.event.Event, "error", err)
		return ErrUnopened
	}
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if !timeout && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrConflict) {
		return err
	}
	r.options.Logger.Warn("the store is not available", "operation", r.event.Event, "error", err)
	return ErrUnavailable
}

// outcome is an error's code in the audit log.
func outcome(err error) (audit.Result, string) {
	for _, known := range []struct {
		err    error
		result audit.Result
		reason string
	}{
		{ErrDenied, audit.Denied, reasonNotAllowed},
		{ErrNotFound, audit.Denied, reasonNotFound},
		{ErrExists, audit.Denied, reasonExists},
		{ErrInvalid, audit.Denied, reasonInvalid},
		{ErrReadOnly, audit.Denied, reasonReadOnly},
		{ErrInUse, audit.Denied, reasonInUse},
		{ErrUnavailable, audit.Failed, reasonUnavailable},
		{ErrUnopened, audit.Failed, reasonUnopened},
	} {
		if errors.Is(err, known.err) {
			return known.result, known.reason
		}
	}
	if err != nil {
		return audit.Failed, reasonInternal
	}
	return audit.Granted, reasonOK
}

// invalid is an ErrInvalid.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}
