package login

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/agent/reach"
)

// newHTTPClient returns a client for single requests: HTTP/1.1, because
// nothing is multiplexed; no compression, because a small bomb must not grow;
// no redirects, because the token goes to one address only.
//
// Connecting gets less time than the whole try, so that it is seen to be what
// failed.
func newHTTPClient(trusting *tls.Config, proxy *reach.Proxy, try time.Duration) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: min(dialTimeout, try*4/5)}).DialContext,
		TLSClientConfig:        trusting,
		TLSHandshakeTimeout:    tlsTimeout,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns:           1,
	}
	proxy.Use(transport)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
