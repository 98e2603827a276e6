// Package review asks a Kubernetes API server whom a service-account token
// belongs to (authentication.k8s.io/v1 TokenReview).
//
// It speaks the one call itself, over a transport with a wide connection
// pool, because client-go's typed client spends several times as much per
// review on decoding and limits itself to five requests a second by default.
// Credentials, TLS and token rotation remain client-go's.
package review

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"k8s.io/client-go/rest"
	clienttransport "k8s.io/client-go/transport"

	"github.com/gatepass/gatepass/gateway/authmethod"
)

const (
	// path is where TokenReviews are created.
	path = "/apis/authentication.k8s.io/v1/tokenreviews"

	// maxAnswer bounds what is read of an answer. The largest honest one repeats
	// a token (16 KiB at most, see the gateway) and lists the account's groups.
	maxAnswer = 256 << 10

	// defaultTimeout bounds one review. The API server answers in milliseconds,
	// or has an aggregated or webhook authenticator that hangs.
	defaultTimeout = 8 * time.Second
)

// Options configure a Client.
type Options struct {
	// Config holds the API server's address, its CA and the reviewer's
	// credentials. Its QPS and Burst have no meaning here.
	Config *rest.Config
	// Self makes the submitted token the credential of its own review. Config
	// must then hold no credential.
	Self bool
	// Issuer is what an accepted token's iss must be. If it is empty, that is the
	// issuer that the API server names, as far as it lets the reviewer read that;
	// tokens of Secrets, which name none of theirs, pass then. AnyIssuer leaves it
	// all to the API server.
	Issuer    string
	AnyIssuer bool
	// Timeout bounds one review; zero means 8 s.
	Timeout time.Duration
	// Observe, if set, is told how long each review took.
	Observe func(outcome string, took time.Duration)
}

// Client reviews tokens at one API server with one reviewer's credentials. It
// is safe for concurrent use.
type Client struct {
	url       string
	transport *transport
	// authorised is transport with the reviewer's credentials. It is used without an
	// http.Client: the API server redirects nothing, and something that does is not
	// the API server and must not get the token.
	authorised http.RoundTripper
	userAgent  string
	// credential, if set, returns the reviewer's bearer token.
	credential func() (string, error)
	self       bool
	issuer     string
	anyIssuer  bool
	issuers    issuers
	timeout    time.Duration
	observe    func(string, time.Duration)
}

// New makes a client. It reads the files that Config names, so that a missing
// CA or certificate is found now; it does not connect.
func New(o Options) (*Client, error) {
	address, err := url.Parse(o.Config.Host)
	if err != nil || address.Scheme != "https" || address.Host == "" {
		return nil, fmt.Errorf("the API server's address %q must be an https URL", o.Config.Host)
	}
	if o.Config.Insecure {
		return nil, errors.New("the kubeconfig turns certificate verification off; give the API server's CA instead")
	}
	transport, err := newTransport(o.Config, address)
	if err != nil {
		return nil, fmt.Errorf("API server %s: %w", o.Config.Host, err)
	}
	authorised, err := rest.HTTPWrappersForConfig(o.Config, transport)
	if err != nil {
		return nil, fmt.Errorf("credentials for API server %s: %w", o.Config.Host, err)
	}
	c := &Client{
		url:       address.JoinPath(path).String(),
		transport: transport,
		self:      o.Self,
		issuer:    o.Issuer,
		anyIssuer: o.AnyIssuer,
		issuers:   newIssuers(),
		timeout:   o.Timeout,
		observe:   o.Observe,

		authorised: authorised,
		userAgent:  o.Config.UserAgent,
	}
	switch {
	case o.Config.BearerTokenFile != "":
		file := clienttransport.NewCachedFileTokenSource(o.Config.BearerTokenFile)
		c.credential = func() (string, error) {
			read, err := file.Token()
			if err != nil {
				return "", err //nolint:wrapcheck // nobody reads it
			}
			return read.AccessToken, nil
		}
	case o.Config.BearerToken != "":
		c.credential = func() (string, error) { return o.Config.BearerToken, nil }
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	return c, nil
}

// Close lets go of idle connections. Reviews under way end normally.
func (c *Client) Close() { c.transport.closeIdle() }

// Review asks whom the token belongs to. audience may be empty, for the API
// server's own. The error is a *Rejection if the API server does not accept
// the token, a *Failure if it did not say, or ctx's.
//
// token must be a JWT by its characters; see IsJWT.
func (c *Client) Review(ctx context.Context, token, audience string) (*authmethod.User, error) {
	began := time.Now()
	user, err := c.review(ctx, token, audience)
	if err == nil {
		if err = c.checkIssuer(ctx, token); err != nil {
			user = nil
		}
	}
	if c.observe != nil {
		c.observe(outcome(err), time.Since(began))
	}
	return user, err
}

func (c *Client) review(ctx context.Context, token, audience string) (*authmethod.User, error) {
	body, err := requestBody(token, audience)
	if err != nil {
		return nil, err
	}
	asked, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(asked, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the review request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if c.userAgent != "" { // else client-go would copy the request to set it
		req.Header.Set("User-Agent", c.userAgent)
	}
	// A review changes nothing and may be sent twice. The empty value tells
	// net/http so, without being sent: a request that met a connection which the
	// server had just closed goes out again on another one.
	req.Header["Idempotency-Key"] = nil
	c.authorise(req, token)
	res, err := c.authorised.RoundTrip(req)
	if err != nil {
		return nil, c.notReached(ctx, asked, err, token)
	}
	defer func() { _ = res.Body.Close() }() // read to its end or given up: nothing to learn from it
	answer, err := readAnswer(res)
	if err != nil {
		return nil, c.notReached(ctx, asked, err, token)
	}
	return c.read(res, answer, token)
}

// authorise sets the credential, where it is a bearer token: client-go would copy the
// request to do so. What is not set here, client-go sets.
func (c *Client) authorise(req *http.Request, token string) {
	if !c.self {
		if c.credential == nil {
			return
		}
		var err error
		if token, err = c.credential(); err != nil { // client-go has what it read before
			return
		}
	}
	req.Header.Set("Authorization", "Bearer "+token)
}

// notReached explains a request that got no complete answer in the time that asked had.
func (c *Client) notReached(ctx, asked context.Context, err error, token string) error {
	if ctx.Err() != nil {
		return ctx.Err() // the caller's deadline, or the caller is gone
	}
	if asked.Err() != nil {
		err = fmt.Errorf("no answer within %s", c.timeout)
	}
	return &Failure{Reason: ReasonUnreachable, Detail: "the API server can't be reached: " + clean(err.Error(), token)}
}

// refused explains an answer that is not a TokenReview. What is quoted is cleaned
// afterwards: the last letter of an escape may be the first of a token.
func (c *Client) refused(res *http.Response, text, token string) error {
	detail := fmt.Sprintf("the API server answered %d: %s", res.StatusCode, clean(strconv.QuoteToGraphic(text), token))
	switch {
	case res.StatusCode == http.StatusUnauthorized && c.self:
		return &Rejection{Reason: ReasonSelfUnauthorized, Detail: detail +
			"; a token that reviews itself needs the API server's audience among its own"}
	case res.StatusCode == http.StatusForbidden && c.self:
		return &Rejection{Reason: ReasonSelfForbidden, Detail: detail +
			"; a token that reviews itself needs the ClusterRole system:auth-delegator"}
	case res.StatusCode == http.StatusUnauthorized:
		return &Failure{Reason: ReasonReviewerUnauthorized, Detail: detail + "; the reviewer's credentials are not accepted"}
	case res.StatusCode == http.StatusForbidden:
		return &Failure{Reason: ReasonReviewerForbidden, Detail: detail +
			"; bind the reviewer to the ClusterRole system:auth-delegator"}
	case res.StatusCode == http.StatusTooManyRequests:
		return &Failure{Reason: ReasonThrottled, Detail: detail, RetryAfter: retryAfter(res.Header.Get("Retry-After"))}
	case res.StatusCode >= http.StatusInternalServerError:
		return &Failure{Reason: ReasonServerError, Detail: detail, RetryAfter: retryAfter(res.Header.Get("Retry-After"))}
	}
	return &Failure{Reason: ReasonMalformed, Detail: detail}
}

// requestBody writes a TokenReview. The token needs no quoting: IsJWT is a
// condition of Review.
func requestBody(token, audience string) ([]byte, error) {
	if !IsJWT(token) {
		return nil, &Rejection{Reason: ReasonNotJWT, Detail: "the token is not a JWT"}
	}
	body := make([]byte, 0, len(token)+len(audience)+128)
	body = append(body, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"`...)
	body = append(body, token...)
	body = append(body, '"')
	if audience != "" {
		quoted, err := json.Marshal(audience)
		if err != nil {
			return nil, fmt.Errorf("audience %q: %w", audience, err)
		}
		body = append(body, `,"audiences":[`...)
		body = append(body, quoted...)
		body = append(body, ']')
	}
	return append(body, "}}"...), nil
}

// jwtLike is what may be a token, ours or another: a JWT, or the beginning of
// one, also where its dots or quotation marks are escaped. Every JWT begins so,
// because its header is a JSON object: {" in base64.
var jwtLike = regexp.MustCompile(`ey[A-Za-z0-9_-]{8,}(?:(?:\.|%2[eE]|\\+u002[eE])[A-Za-z0-9_-]*)*|[A-Za-z0-9_-]{20,}(?:\.[A-Za-z0-9_-]{20,}){2}`)

// clean takes tokens out of a remote server's text, which goes to logs, and
// shortens it. Something that is not an API server may send back what it got.
func clean(text, token string) string {
	const hidden, enough = "(token)", 300
	text = strings.ReplaceAll(text, token, hidden)
	for part := range strings.SplitSeq(token, ".") {
		if len(part) >= 16 {
			text = strings.ReplaceAll(text, part, hidden)
		}
	}
	text = jwtLike.ReplaceAllString(text, hidden)
	if len(text) > enough {
		text = text[:enough] + "…"
	}
	return text
}

// retryAfter reads a header in seconds, which is all that the API server
// sends.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.Atoi(header)
	if err != nil || seconds < 0 || seconds > 600 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// IsJWT says whether a text has the shape of a signed JWT: three non-empty
// base64url parts with dots between them (RFC 7515, section 7.1).
func IsJWT(token string) bool {
	for part := range 3 {
		n := lengthOfPart(token)
		if n == 0 {
			return false
		}
		token = token[n:]
		if part == 2 {
			break
		}
		if token == "" || token[0] != '.' {
			return false
		}
		token = token[1:]
	}
	return token == ""
}

// lengthOfPart is how many bytes at the beginning are of the alphabet of RFC 4648,
// section 5. They come in no order that a processor could guess, so that a
// comparison of each takes several times as long: each word has a bit for every
// byte of a quarter of all.
func lengthOfPart(text string) int {
	words := [4]uint64{
		'-' / 64: 1<<'-' | (1<<10-1)<<'0',
		'A' / 64: (1<<26-1)<<('A'-64) | 1<<('_'-64) | (1<<26-1)<<('a'-64),
	}
	for i := range len(text) {
		if b := text[i]; words[b>>6]>>(b&63)&1 == 0 {
			return i
		}
	}
	return len(text)
}
