package reach

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/agent/config"
	"github.com/gatepass/gatepass/agent/trust"
)

// Proxy is the proxy on the way to one server. A nil Proxy is the direct way.
type Proxy struct {
	url *url.URL
	// host and target are the server's, target with its port as CONNECT names it.
	host, target string
	// told is set when the agent's configuration names the proxy, and not the
	// environment.
	told bool
}

// FromEnvironment returns the proxy that HTTPS_PROXY and NO_PROXY name for an
// https server, nil if there is none.
func FromEnvironment(server *url.URL) (*Proxy, error) {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: server})
	if err != nil || proxy != nil && (proxy.Hostname() == "" || strings.Trim(proxy.Path, "/") != "") {
		// Not quoted: a proxy's address may hold a password. The path is the
		// sign of an address that was only half understood.
		return nil, errors.New("HTTPS_PROXY: is not a proxy's address; use for example http://proxy.example:3128")
	}
	if proxy == nil {
		return nil, nil // the direct way
	}
	return newProxy(proxy, server), nil
}

// Through returns the way to an https server by the proxy at an address, nil for
// config.ProxyNone. An empty address leaves it to FromEnvironment.
func Through(address string, server *url.URL) (*Proxy, error) {
	switch address {
	case "":
		return FromEnvironment(server)
	case config.ProxyNone:
		return nil, nil //nolint:nilnil // no proxy is a way of its own
	}
	if err := config.CheckProxy(address); err != nil {
		return nil, fmt.Errorf("GATEPASS_PROXY: %w", err)
	}
	proxy, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("GATEPASS_PROXY: is not a URL") // not quoted, see CheckProxy
	}
	p := newProxy(proxy, server)
	p.told = true
	return p, nil
}

func newProxy(proxy, server *url.URL) *Proxy {
	port := server.Port()
	if port == "" {
		port = "443"
	}
	return &Proxy{url: proxy, host: server.Hostname(), target: net.JoinHostPort(server.Hostname(), port)}
}

// Address is the proxy's host and port, without the user and password that its
// URL may hold; empty for the direct way.
func (p *Proxy) Address() string {
	if p == nil {
		return ""
	}
	return p.url.Host
}

// Use has t connect through the proxy, and through no other.
func (p *Proxy) Use(t *http.Transport) {
	if p == nil {
		t.Proxy = nil
		return
	}
	t.Proxy = http.ProxyURL(p.url)
	// Without this, net/http's error is the reason phrase alone, which is
	// whatever the proxy chose to write.
	t.OnProxyConnectResponse = func(ctx context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
		if answer.StatusCode != http.StatusOK {
			return statusError(answer.StatusCode)
		}
		if passed, ok := ctx.Value(passedKey{}).(*atomic.Bool); ok {
			passed.Store(true)
		}
		return nil
	}
}

// statusError is a proxy's answer to CONNECT that is not 200.
type statusError int

func (s statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", int(s), http.StatusText(int(s))))
}

// passedKey is the context's key of what says that the proxy has let a request
// pass.
type passedKey struct{}

// Track returns a context for one request, with which Blame tells the proxy's
// failures from those of the server behind it.
func (p *Proxy) Track(ctx context.Context) context.Context {
	if p == nil {
		return ctx
	}
	passed := new(atomic.Bool)
	ctx = context.WithValue(ctx, passedKey{}, passed)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { passed.Store(true) }, // also one that was kept
	})
}

// ProxyError is a failure of the proxy. Its text holds no secret.
type ProxyError struct {
	// Untrusted says that the certificate of the proxy, which was to be reached by
	// https, failed verification.
	Untrusted bool

	reason string
	err    error
}

func (e *ProxyError) Error() string { return e.reason }

// Unwrap returns the error below. Its text is not safe to log.
func (e *ProxyError) Unwrap() error { return e.err }

// Blame returns what the request of ctx, which Track made, failed with: err, or
// a *ProxyError if it failed at the proxy.
func (p *Proxy) Blame(ctx context.Context, err error) error {
	if p == nil || err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if reason := p.own(err); reason != nil {
		return reason
	}
	passed, ok := ctx.Value(passedKey{}).(*atomic.Bool)
	switch {
	case !ok, passed.Load(), strings.HasPrefix(p.url.Scheme, "socks"):
		return err // nothing tells when a SOCKS proxy has let it pass
	case timedOut(err):
		return p.failed(err, fmt.Sprintf("%s did not connect to %s in time; check that it may reach it, or %s", p, p.target, p.bypass()))
	case closed(err):
		return p.failed(err, fmt.Sprintf("%s closed the connection and did not connect to %s; check that it speaks CONNECT to that port, or %s", p, p.target, p.bypass()))
	case isTLS(err):
		return err
	}
	return p.failed(err, fmt.Sprintf("what answers at the address of %s is no proxy; check %s", p, p.setting()))
}

// own returns the failure if err itself says that it is the proxy's; nil if not.
func (p *Proxy) own(err error) *ProxyError {
	if status, ok := errors.AsType[statusError](err); ok {
		return p.failed(err, p.refusal(status))
	}
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return nil
	}
	if strings.HasPrefix(op.Op, "socks") {
		return p.failed(err, p.socks(op))
	}
	if op.Op != "proxyconnect" { // net/http could not connect to the proxy
		return nil
	}
	peer := Peer{"proxy", p.setting()}
	if reason, ok := trust.Explain(err, p.url.Hostname(), peer.Setting, time.Now()); ok {
		return &ProxyError{Untrusted: true, err: err, reason: fmt.Sprintf("%s is not trusted: %s", p, reason)}
	}
	return p.failed(err, fmt.Sprintf("%s can't be reached: %s", p, Describe(op.Err, peer)))
}

// isTLS reports whether err is of a TLS handshake. Those with the proxy are
// told apart before.
func isTLS(err error) bool {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	return record || alert || certificate
}

func (p *Proxy) failed(err error, reason string) *ProxyError {
	return &ProxyError{reason: reason, err: err}
}

// String names the proxy.
func (p *Proxy) String() string { return "the proxy " + p.Address() }

// setting is what names the proxy.
func (p *Proxy) setting() string {
	if p.told {
		return "GATEPASS_PROXY, the profile's gateway.proxy"
	}
	return "HTTPS_PROXY"
}

// bypass is the other remedy for all that is wrong with a proxy.
func (p *Proxy) bypass() string {
	if p.told {
		return "set the profile's gateway.proxy to " + config.ProxyNone
	}
	return "name " + p.host + " in NO_PROXY"
}

// refusal explains an answer to CONNECT. What the proxy wrote beside its status
// is not repeated.
func (p *Proxy) refusal(status statusError) string {
	switch {
	case status == http.StatusProxyAuthRequired && p.told:
		return fmt.Sprintf("%s asks for a user and password (%s), which a profile can't hold; have it know its clients by their addresses, or %s", p, status.Error(), p.bypass())
	case status == http.StatusProxyAuthRequired && p.url.User == nil:
		return fmt.Sprintf("%s asks for a user and password (%s); put them into HTTPS_PROXY, as in http://user:password@proxy.example:3128, or %s", p, status.Error(), p.bypass())
	case status == http.StatusProxyAuthRequired:
		return fmt.Sprintf("%s did not accept the user and password in HTTPS_PROXY (%s); correct them, or %s", p, status.Error(), p.bypass())
	case status >= http.StatusInternalServerError:
		return fmt.Sprintf("%s could not connect to %s (%s); check that it may reach it, or %s", p, p.target, status.Error(), p.bypass())
	}
	return fmt.Sprintf("%s refused to connect to %s (%s); allow that there, or %s", p, p.target, status.Error(), p.bypass())
}

// socks explains a SOCKS proxy's failure. The texts are net/http's own.
func (p *Proxy) socks(op *net.OpError) string {
	if timedOut(op) {
		return fmt.Sprintf("%s did not connect to %s in time; check that it may reach it, or %s", p, p.target, p.bypass())
	}
	if closed(op) {
		return fmt.Sprintf("%s closed the connection and did not connect to %s; check that it speaks SOCKS, or %s", p, p.target, p.bypass())
	}
	return fmt.Sprintf("%s did not connect to %s: %v; check that it may reach it, or %s", p, p.target, op.Err, p.bypass())
}
