// Package client calls commands of the gateway's V2 API: POST of a JSON object,
// answered by one. Session tokens and secrets go to the configured address and to
// no other: redirects are not followed, and the server's certificate is always
// verified.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/reach"
	"github.com/gatepass/gatepass/agent/trust"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

const (
	// maxAnswer bounds an answer, in bytes. A list of 100,000 items has some 40 MB.
	maxAnswer = 256 << 20

	maxHeader   = 64 << 10
	dialTimeout = 5 * time.Second
	tlsTimeout  = 10 * time.Second
)

// Options say where the gateway is.
type Options struct {
	// URL is the gateway's address, with or without the API's prefixes /v2 and
	// /api/v2.
	URL string
	// CABundle holds PEM certificates to trust; empty means trust.Roots' defaults.
	CABundle string
	// ServerName is whom the certificate must be for, if that is not URL's host.
	ServerName string
	// Certificate is presented to a gateway that asks for one; nil is none.
	Certificate *tls.Certificate
	// Timeout bounds one call, connection included.
	Timeout time.Duration
	// UserAgent names the program, for the gateway's log.
	UserAgent string
}

// Client calls one gateway.
type Client struct {
	options Options
	host    string
	proxy   *reach.Proxy
	http    *http.Client
}

// New checks o. It makes no connection.
func New(o Options) (*Client, error) {
	if err := config.CheckURL(o.URL); err != nil {
		return nil, fmt.Errorf("the gateway's address: %w", err)
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("the gateway's address is not a URL")
	}
	if o.Timeout <= 0 {
		return nil, errors.New("the timeout must be more than 0")
	}
	roots, err := trust.Roots(o.CABundle)
	if err != nil {
		return nil, fmt.Errorf("the gateway's CA certificates: %w", err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // the gateway speaks no other
	proxy, err := reach.FromEnvironment(u)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        trust.Config(roots, o.ServerName, o.Certificate),
		TLSHandshakeTimeout:    tlsTimeout,
		Protocols:              protocols,
		DisableCompression:     true, // a small bomb must not grow
		MaxResponseHeaderBytes: maxHeader,
	}
	proxy.Use(transport)
	o.URL = strings.TrimRight(o.URL, "/")
	return &Client{options: o, host: cmp.Or(o.ServerName, u.Hostname()), proxy: proxy, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is an answer other than 200.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Reason is one line for a person.
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Call carries out a command, and reads its answer. It tries once. Errors are one
// line, and hold none of the secrets, whatever the gateway sends back.
func (c *Client) Call(ctx context.Context, command string, request, answer any, secrets ...string) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	ctx = c.proxy.Track(ctx)
	// Unlike encoding/json, this refuses text that is not UTF-8, instead of sending
	// another text in its place. The option makes omitempty keep pointers to "".
	body, err := json.Marshal(request, jsonv1.OmitEmptyWithLegacySemantics(true))
	if err != nil {
		return errors.New("the request can't be written as JSON: some of its text is not UTF-8")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.options.URL+"/"+command, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.options.UserAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unanswered(c.proxy.Blame(ctx, err), secrets)
	}
	defer func() { _ = resp.Body.Close() }() // all that matters was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer of %s broke off: %w", c.where(), err)
	case len(text) > maxAnswer:
		return fmt.Errorf("the answer of %s is larger than %d bytes", c.where(), maxAnswer)
	case resp.StatusCode != http.StatusOK:
		return c.refused(command, resp, text, secrets)
	}
	if json.Unmarshal(text, answer) != nil {
		// The decoder's error is left out: it may quote a secret.
		return fmt.Errorf("%s did not answer with what this command expects; check that its address leads to a gateway of this version or a later one", c.where())
	}
	return nil
}

func (c *Client) where() string { return "the gateway at " + c.options.URL }

// unanswered explains an error that came instead of an answer.
func (c *Client) unanswered(err error, secrets []string) error {
	if failed, ok := errors.AsType[*reach.ProxyError](err); ok {
		return failed
	}
	if reason, ok := trust.Explain(err, c.host, reach.Gateway().Setting, time.Now()); ok {
		return errors.New(reason)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // the URL is known; what is below says more
	}
	reason := err.Error()
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		reason = "no answer in time; it is overloaded, or the way to it drops packets"
	case errors.Is(err, syscall.ECONNREFUSED):
		reason = "nothing listens there; check the address and its port"
	case strings.Contains(reason, "HTTP response to HTTPS client"):
		reason = "what listens there does not speak TLS; check the port"
	case strings.Contains(reason, "certificate required"): // RFC 8446, section 6.2
		reason = "it asks for a client certificate of an authority that it knows; use --client-certificate and --client-key"
	case strings.Contains(reason, "remote error: tls:") && c.options.Certificate != nil:
		reason += "; is the client certificate one that it takes?"
	}
	return fmt.Errorf("%s can't be reached: %s", c.where(), clean(reason, secrets))
}

// refused explains an answer other than 200.
func (c *Client) refused(command string, resp *http.Response, text []byte, secrets []string) error {
	status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	var failure v2.Failure
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return &Error{resp.StatusCode, fmt.Sprintf("%s answered with a redirect (%s), which is not followed; give the address that it leads to, if you trust it", c.where(), status)}
	case json.Unmarshal(text, &failure) != nil || failure.Error == "":
		return &Error{resp.StatusCode, fmt.Sprintf("%s answered %s, and not as a gateway does; check its address", c.where(), status)}
	}
	reason := fmt.Sprintf("the gateway refused %s (%s): %s", command, status, clean(failure.Error, secrets))
	if wait := resp.Header.Get("Retry-After"); wait != "" {
		reason = strings.TrimSuffix(reason, "; try again") + "; try again after " + clean(wait, secrets) + " s"
	}
	return &Error{resp.StatusCode, reason}
}
