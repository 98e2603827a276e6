package review

import (
	"net/http"
	"sync/atomic"

	"k8s.io/client-go/rest"
	clienttransport "k8s.io/client-go/transport"
)

// bearer is the reviewer's bearer token.
type bearer struct {
	read func() (string, error)
	// last is what was sent last. It changes once an hour at most.
	last atomic.Pointer[credential]
}

// credential is a token and what a request says of it.
type credential struct{ token, header string }

func (c *credential) of(token string) bool { return c != nil && c.token == token }

// newBearer is nil if there is no such token.
func newBearer(config *rest.Config) *bearer {
	switch {
	case config.BearerTokenFile != "":
		file := clienttransport.NewCachedFileTokenSource(config.BearerTokenFile)
		return &bearer{read: func() (string, error) {
			read, err := file.Token()
			if err != nil {
				return "", err //nolint:wrapcheck // nobody reads it
			}
			return read.AccessToken, nil
		}}
	case config.BearerToken != "":
		return &bearer{read: func() (string, error) { return config.BearerToken, nil }}
	}
	return nil
}

func (b *bearer) header() (string, error) {
	token, err := b.read()
	if err != nil {
		return "", err
	}
	last := b.last.Load()
	if !last.of(token) {
		last = &credential{token, headerOf(token)}
		b.last.Store(last)
	}
	return last.header, nil
}

func headerOf(token string) string { return "Bearer " + token }

// authorise sets the credential, where it is a bearer token: client-go would copy the
// request to do so. What is not set here, client-go sets.
func (c *Client) authorise(req *http.Request, token string) {
	if c.self {
		req.Header.Set("Authorization", headerOf(token))
		return
	}
	if c.bearer == nil {
		return
	}
	if header, err := c.bearer.header(); err == nil { // else client-go has what it read before
		req.Header.Set("Authorization", header)
	}
}
