// Package login exchanges a pod's service-account token for a session.
//
// It speaks the gateway's V2 API, which is POST <url>/auth with a JSON body,
// answered by JSON, and Vault's PUT <url>/v1/auth/<path>/login. The
// service-account token is sent to the configured address and to no other:
// redirects are not followed, and the server's certificate is always verified.
package login

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/reach"
	"github.com/gatepass/gatepass/agent/session"
	"github.com/gatepass/gatepass/agent/trust"
)

// Limits of one try.
const (
	// MaxAnswer bounds the answer's body, in bytes. A session token is some
	// 2 KiB.
	MaxAnswer = 1 << 20
	// maxToken bounds the session token, so that it, its description and
	// their successors fit into a session volume of 1 MiB.
	maxToken = 128 << 10

	maxHeader      = 64 << 10
	dialTimeout    = 5 * time.Second
	tlsTimeout     = 10 * time.Second
	defaultTimeout = 20 * time.Second
)

// Options say where and as what to log in.
type Options struct {
	Protocol config.Protocol
	// URL is the gateway's base address, with or without the API's prefixes
	// /v2 and /api/v2.
	URL string
	// CABundle holds PEM certificates to trust; empty means trust.Roots'
	// defaults.
	CABundle string
	// ServerName is whom the certificate must be for, if that is not URL's host.
	ServerName string
	// Certificate is presented to a gateway that asks for one; nil is none.
	Certificate *tls.Certificate

	// Proxy is the way to the server, as config.Config has it.
	Proxy string

	// AccessID and AuthConfig belong to protocol gateway.
	AccessID   string
	AuthConfig string

	// Role, AuthPath and Namespace belong to protocol vault.
	Role      string
	AuthPath  string
	Namespace string

	// Timeout bounds one request, connection included; 0 means 20 s.
	Timeout time.Duration
	// UserAgent names the program, for the gateway's log.
	UserAgent string
}

// Client logs in. It may be used by several goroutines at once.
type Client struct {
	options Options
	wire    wire
	host    string
	proxy   *reach.Proxy
	http    *http.Client
}

// New checks o and reads the CA bundle. It makes no connection. Its errors
// are mistakes in the configuration, named by the environment variable.
func New(o Options) (*Client, error) {
	if err := config.CheckURL(o.URL); err != nil {
		return nil, fmt.Errorf("GATEPASS_GATEWAY_URL: %w", err)
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("GATEPASS_GATEWAY_URL: is not a URL")
	}
	speak, err := newWire(o)
	if err != nil {
		return nil, err
	}
	roots, err := trust.Roots(o.CABundle)
	if err != nil {
		return nil, fmt.Errorf("GATEPASS_CA_BUNDLE: %w", err)
	}
	proxy, err := reach.Through(o.Proxy, u)
	if err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Client{options: o, wire: speak, host: cmp.Or(o.ServerName, u.Hostname()), proxy: proxy,
		http: newHTTPClient(trust.Config(roots, o.ServerName, o.Certificate), proxy, o.Timeout)}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is one request to the server.
type call struct {
	// what is asked for, in a word for messages: login, renewal, check or revocation.
	what        string
	method, url string
	// body is marshalled as JSON; nil for no body.
	body any
	// token is the session that makes the call; empty for a login.
	token string
}

// wire is how a protocol writes its calls and reads their answers.
type wire interface {
	// login is the call that presents the identity, and what of it is secret.
	login(identity string) (call, []string)
	revoke(token string) call
	// check is the call that asks whether a session is still good.
	check(token string) call
	// ended reads check's answer: why the session has ended, or that it has not;
	// known is false if the answer says neither.
	ended(status int, body []byte) (reason string, ended, known bool)
	// header adds to the headers of every call.
	header(h http.Header, c call)
	// granted reads the body of a 200, without the session's Gateway.
	granted(body []byte, now time.Time) (session.Session, *Error)
	// refused returns the server's own reason; false if body is not its error.
	refused(status int, body []byte) (string, bool)
}

func newWire(o Options) (wire, error) {
	switch o.Protocol {
	case config.ProtocolGateway:
		return v2{o}, nil
	case config.ProtocolVault:
		return newVault(o)
	}
	return nil, fmt.Errorf("GATEPASS_PROTOCOL: %q is not supported by this version of the agent; use %q or %q", o.Protocol, config.ProtocolGateway, config.ProtocolVault)
}

// Login presents the identity, a service-account token, and returns the
// session. It tries once. A failure is an *Error, whose text holds neither
// token.
func (c *Client) Login(ctx context.Context, identity string) (session.Session, error) {
	do, secrets := c.wire.login(identity)
	return c.session(ctx, do, secrets)
}

// Renew prolongs a session that is Renewable, and returns it with its new
// expiry. It tries once. A failure is an *Error; after one of kind Denied the
// session is of no use any more.
func (c *Client) Renew(ctx context.Context, s session.Session) (session.Session, error) {
	v, ok := c.wire.(*vault)
	if !ok || !s.Renewable {
		return session.Session{}, &Error{Kind: Denied, Reason: "this session can't be renewed; log in again"}
	}
	return c.session(ctx, v.renew(s.Token), []string{s.Token})
}

// Revoke ends a session before its time. It tries once. A failure is an
// *Error.
func (c *Client) Revoke(ctx context.Context, s session.Session) error {
	clean := newScrubber(s.Token)
	do := c.wire.revoke(s.Token)
	status, header, answer, err := c.send(ctx, do)
	if err != nil {
		return c.unanswered(err, time.Now()).cleaned(clean)
	}
	if status == http.StatusOK || status == http.StatusNoContent {
		return nil
	}
	return failed(c.wire, do.what, status, header, answer, time.Now()).cleaned(clean)
}

// Ended reports whether the server says that a session has ended, and why. It
// asks once, by a connection of its own: the gateway keeps an idle one for less
// time than there is between two checks. An error, which is an *Error, says that
// nothing is known.
func (c *Client) Ended(ctx context.Context, s session.Session) (reason string, ended bool, err error) {
	clean := newScrubber(s.Token)
	do := c.wire.check(s.Token)
	status, header, answer, err := c.send(ctx, do)
	if err != nil {
		return "", false, c.unanswered(err, time.Now()).cleaned(clean)
	}
	c.Close()
	if len(answer) <= MaxAnswer {
		if reason, ended, known := c.wire.ended(status, answer); known {
			return clean.text(reason), ended, nil
		}
	}
	if status == http.StatusOK {
		return "", false, foreign("the answer does not say whether the session is still good")
	}
	return "", false, failed(c.wire, do.what, status, header, answer, time.Now()).cleaned(clean)
}

// session makes a call that is answered by a session.
func (c *Client) session(ctx context.Context, do call, secrets []string) (session.Session, error) {
	clean := newScrubber(secrets...)
	status, header, answer, err := c.send(ctx, do)
	if err != nil {
		return session.Session{}, c.unanswered(err, time.Now()).cleaned(clean)
	}
	s, failure := parse(c.wire, do.what, status, header, answer, time.Now())
	if failure != nil {
		return session.Session{}, failure.cleaned(clean)
	}
	s.Gateway = c.options.URL
	return s, nil
}

func (c *Client) send(ctx context.Context, do call) (status int, header http.Header, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	ctx = c.proxy.Track(ctx)
	var body []byte
	if do.body != nil {
		if body, err = json.Marshal(do.body); err != nil {
			return 0, nil, nil, fmt.Errorf("building the request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, do.method, do.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	if c.options.UserAgent != "" {
		req.Header.Set("User-Agent", c.options.UserAgent)
	}
	c.wire.header(req.Header, do)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, c.proxy.Blame(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		// The next try shall be free to reach another replica.
		c.http.CloseIdleConnections()
	}
	return resp.StatusCode, resp.Header, answer, nil
}
