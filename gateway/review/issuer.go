package review

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// ReasonIssuer is of a token that the API server accepts, but of another issuer
// than the auth config names.
const ReasonIssuer Reason = "token-issuer"

const (
	// legacyIssuer is what tokens of Secrets say, whatever the API server's issuer
	// is (k8s.io/kubernetes/pkg/serviceaccount, legacy.go).
	legacyIssuer = "kubernetes/serviceaccount"

	discoveryPath = "/.well-known/openid-configuration"
	// issuerInterval is how long a discovered issuer is taken for granted, and how
	// long it is left alone that there is none to be read.
	issuerInterval = 10 * time.Minute
	// issuerPause is the same for an issuer that a token contradicts, and after the
	// API server failed to tell.
	issuerPause = 10 * time.Second
	// issuerTimeout is short because a login waits for it.
	issuerTimeout = 2 * time.Second
)

// issuers knows the API server's issuer.
type issuers struct {
	// asking is full while somebody asks the API server.
	asking chan struct{}

	mu     sync.Mutex
	found  string
	asked  time.Time
	failed bool
}

func newIssuers() issuers { return issuers{asking: make(chan struct{}, 1)} }

// known is what the API server said last, and whether that is good enough.
func (i *issuers) known(good time.Duration) (found string, enough bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed {
		good = issuerPause
	}
	return i.found, time.Since(i.asked) < good
}

func (i *issuers) learn(found string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil {
		i.found = found
	}
	i.asked, i.failed = time.Now(), err != nil && !errors.Is(err, errNotTold)
}

// errNotTold is of a reviewer that may not read the API server's issuer.
var errNotTold = errors.New("the API server does not tell its issuer")

// checkIssuer compares what an accepted token says of its issuer. The text is
// trustworthy: the API server has verified the signature over it.
func (c *Client) checkIssuer(ctx context.Context, token string) error {
	if c.anyIssuer {
		return nil
	}
	got, want := issuerOf(token), c.issuer
	if want == "" {
		if got == legacyIssuer {
			return nil
		}
		want = c.discovered(ctx, issuerInterval)
		if got != want && want != "" {
			// The API server accepts it: it may have got another issuer meanwhile.
			want = c.discovered(ctx, issuerPause)
		}
		if want == "" {
			return ctx.Err() //nolint:wrapcheck // of a caller who did not wait for the answer
		}
	}
	if got == want {
		return nil
	}
	return &Rejection{Reason: ReasonIssuer, Detail: fmt.Sprintf("the token's issuer is %s, and %q is asked for", clean(strconv.Quote(got), token), want)}
}

// issuerOf reads a token's iss; it is empty if there is none.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return ""
	}
	return claims.Issuer
}

// discovered is the issuer that the API server names, or empty if it does not tell
// the reviewer. What it said is good for that long; while one login asks again, the
// others go by it.
func (c *Client) discovered(ctx context.Context, good time.Duration) string {
	found, enough := c.issuers.known(good)
	if enough {
		return found
	}
	select {
	case c.issuers.asking <- struct{}{}:
	default:
		if found != "" {
			return found
		}
		select {
		case c.issuers.asking <- struct{}{}:
		case <-ctx.Done():
			return ""
		}
	}
	defer func() { <-c.issuers.asking }()
	if found, enough = c.issuers.known(good); enough {
		return found
	}
	// The answer is for all logins, so it is waited for even if this one has gone.
	c.issuers.learn(c.discover(context.WithoutCancel(ctx)))
	found, _ = c.issuers.known(good)
	return found
}

func (c *Client) discover(ctx context.Context) (string, error) {
	address, err := url.Parse(c.url)
	if err != nil {
		return "", fmt.Errorf("discover the issuer: %w", err)
	}
	address.Path = strings.TrimSuffix(address.Path, path) + discoveryPath
	asked, cancel := context.WithTimeout(ctx, min(c.timeout, issuerTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(asked, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return "", fmt.Errorf("discover the issuer: %w", err)
	}
	res, err := c.authorised.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("discover the issuer: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end or given up: nothing to learn from it
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("discover the issuer: %w", err)
	}
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return "", fmt.Errorf("discover the issuer: the API server answers %d: %w", res.StatusCode, errNotTold)
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(answer, &document); err != nil || res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("discover the issuer: the API server answers %d", res.StatusCode)
	}
	return document.Issuer, nil
}
