// Package login exchanges a pod's service-account token for a session.
//
// It speaks the gateway's V2 API: POST <url>/auth with a JSON body, answered
// by JSON. The service-account token is sent to the configured address and to
// no other: redirects are not followed, and the server's certificate is
// always verified.
package login

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/agent/config"
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

// accessType is what the V2 API calls logging in with a service-account token.
const accessType = "k8s"

// Options say where and as what to log in.
type Options struct {
	Protocol config.Protocol
	// URL is the gateway's base address, with or without the API's prefixes
	// /v2 and /api/v2.
	URL string
	// CABundle holds PEM certificates to trust; empty means trust.Roots'
	// defaults.
	CABundle string

	AccessID   string
	AuthConfig string

	// Timeout bounds one Login, connection included; 0 means 20 s.
	Timeout time.Duration
	// UserAgent names the program, for the gateway's log.
	UserAgent string
}

// Client logs in. It may be used by several goroutines at once.
type Client struct {
	options Options
	url     string
	host    string
	proxy   string
	http    *http.Client
}

// New checks o and reads the CA bundle. It makes no connection. Its errors
// are mistakes in the configuration, named by the environment variable.
func New(o Options) (*Client, error) {
	if o.Protocol != config.ProtocolGateway {
		return nil, fmt.Errorf("GATEPASS_PROTOCOL: %q is not supported by this version of the agent; use %q", o.Protocol, config.ProtocolGateway)
	}
	if err := config.CheckURL(o.URL); err != nil {
		return nil, fmt.Errorf("GATEPASS_GATEWAY_URL: %w", err)
	}
	base := strings.TrimRight(o.URL, "/")
	u, err := url.Parse(base + "/auth")
	if err != nil {
		return nil, errors.New("GATEPASS_GATEWAY_URL: is not a URL")
	}
	roots, err := trust.Roots(o.CABundle)
	if err != nil {
		return nil, fmt.Errorf("GATEPASS_CA_BUNDLE: %w", err)
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil || proxy != nil && (proxy.Hostname() == "" || strings.Trim(proxy.Path, "/") != "") {
		// Not quoted: a proxy's address may hold a password. The path is the
		// sign of an address that was only half understood.
		return nil, errors.New("HTTPS_PROXY: is not a proxy's address; use for example http://proxy.example:3128")
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	c := &Client{options: o, url: u.String(), host: u.Hostname(), http: newHTTPClient(roots, proxy)}
	if proxy != nil {
		c.proxy = proxy.Host
	}
	return c, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is the body of /auth. gateway-url is what the seeds' own clients
// send along with a Kubernetes login.
type request struct {
	AccessID   string `json:"access-id"`
	AccessType string `json:"access-type"`
	AuthConfig string `json:"k8s-auth-config-name"`
	Identity   string `json:"k8s-service-account-token"`
	GatewayURL string `json:"gateway-url"`
}

// Login presents the identity, a service-account token, and returns the
// session. It tries once. A failure is an *Error, whose text holds neither
// token.
func (c *Client) Login(ctx context.Context, identity string) (session.Session, error) {
	// Existing gateways want the token base64-encoded; ours takes both forms.
	encoded := base64.StdEncoding.EncodeToString([]byte(identity))
	clean := newScrubber(identity, encoded)
	body, err := json.Marshal(request{
		AccessID:   c.options.AccessID,
		AccessType: accessType,
		AuthConfig: c.options.AuthConfig,
		Identity:   encoded,
		GatewayURL: baseURL(c.options.URL),
	})
	if err != nil {
		return session.Session{}, fmt.Errorf("building the login request: %w", err)
	}

	tryCtx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	status, header, answer, err := c.post(tryCtx, body)
	if err != nil {
		failure := c.unanswered(err, time.Now())
		failure.Reason = clean.text(failure.Reason)
		return session.Session{}, failure
	}
	now := time.Now()
	s, failure := parse(status, header, answer, now)
	if failure != nil {
		if status >= http.StatusInternalServerError {
			// The next try shall be free to reach another replica.
			c.http.CloseIdleConnections()
		}
		failure.Reason = clean.text(failure.Reason)
		return session.Session{}, failure
	}
	s.Gateway = c.options.URL
	return s, nil
}

func (c *Client) post(ctx context.Context, body []byte) (status int, header http.Header, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if c.options.UserAgent != "" {
		req.Header.Set("User-Agent", c.options.UserAgent)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("the answer broke off: %w", err)
	}
	return resp.StatusCode, resp.Header, answer, nil
}

// baseURL is the gateway's address without the API's prefix.
func baseURL(configured string) string {
	base := strings.TrimRight(configured, "/")
	base = strings.TrimSuffix(base, "/v2")
	return strings.TrimSuffix(base, "/api")
}
