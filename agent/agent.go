// Package agent does the work of one pod's life: it proves the pod's identity
// to a gateway and leaves the session where the application reads it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/gatepass/gatepass/agent/backoff"
	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/identity"
	"github.com/gatepass/gatepass/agent/login"
	"github.com/gatepass/gatepass/agent/session"
)

// Keys of log attributes.
const (
	keyAccessID   = "access_id"
	keyAuthConfig = "auth_config"
	keyCause      = "cause"
	keyExpiry     = "expiry"
	keyFile       = "file"
	keyGateway    = "gateway"
	keyMode       = "mode"
	keyRevoked    = "revoked"
	keyTook       = "took"
	keyTry        = "try"
	keyTimeout    = "timeout"
	keyWait       = "wait"
)

// A try may take a third of the whole time, so that a gateway's replica that
// hangs does not use up all of it, within these bounds.
const (
	minTry = 5 * time.Second
	maxTry = 20 * time.Second
)

// Options are what an Agent needs.
type Options struct {
	Config config.Config
	// Logger receives what happens; never a token.
	Logger *slog.Logger
	// UserAgent names the program to the gateway, for example
	// gatepass-agent/v0.1.0.
	UserAgent string
	// Retry bounds the tries; nil means backoff.DefaultPolicy.
	Retry *backoff.Policy
}

// Agent is the agent of one pod.
type Agent struct {
	config config.Config
	log    *slog.Logger
	login  server
	files  session.Files
	retry  backoff.Policy
	meters meters
	// wall is the time of day, which goes on while a node is suspended.
	wall func() time.Time
}

// server is who grants sessions.
type server interface {
	Login(ctx context.Context, identity string) (session.Session, error)
	Renew(ctx context.Context, s session.Session) (session.Session, error)
	Revoke(ctx context.Context, s session.Session) error
	// Ended reports whether a session has ended, and why; an error says that this
	// is not known.
	Ended(ctx context.Context, s session.Session) (reason string, ended bool, err error)
	// Close closes idle connections.
	Close()
}

// New checks the configuration. Every error is an *Error with code
// ExitConfig.
func New(o Options) (*Agent, error) {
	c := o.Config
	if err := c.Validate(); err != nil {
		return nil, &Error{ExitConfig, err}
	}
	client, err := login.New(login.Options{
		Protocol:   c.Protocol,
		URL:        c.GatewayURL,
		CABundle:   c.CABundle,
		Proxy:      c.Proxy,
		AccessID:   c.AccessID,
		AuthConfig: c.AuthConfig,
		Role:       c.Role,
		AuthPath:   c.AuthPath,
		Namespace:  c.AuthNamespace,
		Timeout:    min(max(c.Timeout/3, minTry), maxTry, c.Timeout),
		UserAgent:  o.UserAgent,
	})
	if err != nil {
		return nil, &Error{ExitConfig, err}
	}
	a := &Agent{
		config: c,
		log:    o.Logger,
		login:  client,
		files:  session.Files{Token: c.TokenFile, CA: c.CABundle, Mode: c.TokenMode},
		retry:  backoff.DefaultPolicy(),
		// Round strips the monotonic reading.
		wall: func() time.Time { return time.Now().Round(0) },
	}
	if o.Retry != nil {
		a.retry = *o.Retry
	}
	return a, nil
}

// Run does the work and returns when it is done, or ctx ends. A sidecar that
// has written a session has done its work when ctx ends, and returns nil.
// Every error is an *Error, except the cause of ctx.
func (a *Agent) Run(ctx context.Context) error {
	defer a.login.Close()
	a.log.Debug("agent starts", keyMode, a.config.Mode, keyGateway, a.config.GatewayURL, keyAccessID, a.config.AccessID,
		keyAuthConfig, a.config.AuthConfig, keyTimeout, a.config.Timeout.String())
	if a.config.Mode == config.ModeSidecar {
		return a.runSidecar(ctx)
	}
	_, err := a.begin(ctx)
	return err
}

// begin gets the first session and writes it, within the timeout.
func (a *Agent) begin(ctx context.Context) (session.Session, error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, a.config.Timeout)
	defer cancel()
	s, err := a.acquire(ctx)
	if err != nil {
		return session.Session{}, err
	}
	if err := a.files.Write(s); err != nil {
		return session.Session{}, &Error{ExitSession, err}
	}
	attrs := []any{keyFile, a.config.TokenFile, keyGateway, s.Gateway, keyTook, time.Since(begin).String()}
	if !s.Expiry.IsZero() {
		attrs = append(attrs, keyExpiry, s.Expiry)
	}
	a.log.Info("session written", attrs...)
	if !s.Expiry.IsZero() && s.Expiry.Before(a.wall()) {
		a.log.Warn("the session has expired already: the clocks of this node and of the gateway disagree", keyExpiry, s.Expiry)
	}
	return s, nil
}

// acquire logs in, again and again while that may help.
func (a *Agent) acquire(ctx context.Context) (session.Session, error) {
	var (
		s    session.Session
		last error
	)
	policy := a.retry
	policy.Report = func(try int, wait time.Duration, err error) {
		last = err
		a.log.Warn("login failed and will be tried again", keyTry, try, keyWait, wait.String(), keyCause, err.Error())
	}
	err := policy.Do(ctx, func(ctx context.Context) (err error) {
		s, err = a.try(ctx)
		return err
	}, advise)
	if err == nil {
		return s, nil
	}
	if failure, ok := errors.AsType[*Error](err); ok {
		return session.Session{}, failure
	}
	if errors.Is(err, context.DeadlineExceeded) {
		// The time was up before a try could begin.
		return session.Session{}, &Error{ExitUnreachable, fmt.Errorf("the timeout of %s left no time to log in", a.config.Timeout)}
	}
	if last != nil {
		// A sidecar that its hook gave up is stopped by a signal.
		return session.Session{}, fmt.Errorf("%w; the last login failed: %w", err, last)
	}
	return session.Session{}, err
}

// try logs in once. The identity is read each time, because the kubelet
// replaces it before it expires, and may be about to write it still.
func (a *Agent) try(ctx context.Context) (session.Session, error) {
	token, err := identity.Read(a.config.IdentityFile)
	if err != nil {
		return session.Session{}, &Error{ExitIdentity, err}
	}
	s, err := a.login.Login(ctx, token)
	if err != nil {
		return session.Session{}, &Error{exitCode(err), err}
	}
	return s, nil
}

// advise says which failures time may heal. A missing identity is among them:
// the volume may still be on its way.
func advise(err error) backoff.Advice {
	if failed, ok := errors.AsType[*login.Error](err); ok {
		return backoff.Advice{Final: !failed.Kind.Transient(), Wait: failed.RetryAfter}
	}
	return backoff.Advice{Final: !errors.Is(err, fs.ErrNotExist)}
}
