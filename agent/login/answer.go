package login

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/agent/session"
)

// answer is the body of a successful /auth. What is only nice to have is kept
// raw, so that a gateway that writes it differently does not fail a login.
type answer struct {
	Token      string          `json:"token"`
	Expiration json.RawMessage `json:"expiration"`
	Creds      json.RawMessage `json:"creds"`
}

// parse turns an answer into a session, without its Gateway, or the reason
// why there is none.
func parse(w wire, what string, status int, header http.Header, body []byte, now time.Time) (session.Session, *Error) {
	switch {
	case status != http.StatusOK:
		return session.Session{}, failed(w, what, status, header, body, now)
	case len(body) > MaxAnswer:
		return session.Session{}, foreign(fmt.Sprintf("the answer is larger than %d bytes", MaxAnswer))
	}
	return w.granted(body, serverTime(header, now))
}

// serverTime is what the server's clock says (RFC 9110, section 6.6.1), which is
// the one that it tells a session's end by; now if it does not say.
func serverTime(header http.Header, now time.Time) time.Time {
	if t, err := http.ParseTime(header.Get("Date")); err == nil && writable(t) {
		return t
	}
	return now
}

// failed explains an answer that is no success to what was asked for.
func failed(w wire, what string, status int, header http.Header, body []byte, now time.Time) *Error {
	text, ours := "", false
	if len(body) <= MaxAnswer {
		text, ours = w.refused(status, body)
	}
	switch {
	case status >= 300 && status < 400:
		return &Error{Kind: Foreign, Status: status, Reason: fmt.Sprintf(
			"the gateway answered with a redirect (%d)%s; redirects are not followed, because the token goes to the configured address only: set the gateway's url to the final address",
			status, target(header.Get("Location")))}
	case transient(status):
		reason := fmt.Sprintf("the gateway is overloaded or failing (%s)", statusText(status))
		if text != "" {
			reason += ": " + text
		}
		return &Error{Kind: Failing, Status: status, Reason: reason, RetryAfter: retryAfter(header.Get("Retry-After"), now)}
	case status >= 400 && ours:
		return &Error{Kind: Denied, Status: status, Reason: fmt.Sprintf("the gateway denied the %s (%s): %s", what, statusText(status), text)}
	}
	return &Error{Kind: Foreign, Status: status, Reason: fmt.Sprintf(
		"what answered (%s) does not look like a gateway; check the gateway's url", statusText(status))}
}

// transient reports whether a status says that a later try may succeed. 412
// is Vault's for a replica that has not yet caught up.
func transient(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusPreconditionFailed, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// target names the host that a redirect leads to, and nothing else of it.
func target(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return ""
	}
	return fmt.Sprintf(" to %q", u.Scheme+"://"+u.Host)
}

// foreign is the failure of an answer that no gateway gives.
func foreign(reason string) *Error {
	return &Error{Kind: Foreign, Status: http.StatusOK, Reason: reason + "; check that the gateway's url leads to a gateway"}
}

// checkToken reports why token can't be a session's.
func checkToken(token string) *Error {
	switch {
	case token == "":
		return foreign("the answer holds no session token")
	case len(token) > maxToken:
		return foreign(fmt.Sprintf("the session token is larger than %d bytes", maxToken))
	}
	for i := range len(token) {
		// The application will put it into a header.
		if token[i] <= ' ' || token[i] >= 0x7f {
			return foreign("the session token holds characters that no token has")
		}
	}
	return nil
}

func parseSession(body []byte, now time.Time) (session.Session, *Error) {
	var a answer
	// The decoder's error is left out, because it may quote the body.
	if json.Unmarshal(body, &a) != nil {
		return session.Session{}, foreign("the answer is not the JSON of a gateway")
	}
	if failure := checkToken(a.Token); failure != nil {
		return session.Session{}, failure
	}
	s := session.Session{Token: a.Token, Claims: claims(a.Token), Issued: now}
	if iat, ok := unixClaim(s.Claims, "iat"); ok {
		s.Issued = iat
	}
	s.Issued = s.Issued.UTC().Truncate(time.Second)
	s.Expiry = expiry(a, s.Claims)
	return s, nil
}

// expiry looks in the three places where a gateway says it, the most
// explicit first; zero if none does.
func expiry(a answer, claims map[string]any) time.Time {
	var text string
	if json.Unmarshal(a.Expiration, &text) == nil {
		if t, err := time.Parse(time.RFC3339, text); err == nil && writable(t) {
			return t.UTC()
		}
	}
	var creds struct {
		Expiry int64 `json:"expiry"`
	}
	if json.Unmarshal(a.Creds, &creds) == nil && creds.Expiry > 0 {
		if t := time.Unix(creds.Expiry, 0).UTC(); writable(t) {
			return t
		}
	}
	t, _ := unixClaim(claims, "exp")
	return t
}

// writable reports whether RFC 3339 can express t.
func writable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1970 && year <= 9999
}

// claims returns the payload of a compact JWS; nil if token is none. The
// signature is not checked: the token came over a verified connection from
// the gateway that issued it.
func claims(token string) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var m map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(payload)))
	decoder.UseNumber()
	if decoder.Decode(&m) != nil {
		return nil
	}
	return m
}

func unixClaim(claims map[string]any, name string) (time.Time, bool) {
	n, ok := claims[name].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := n.Int64()
	if err != nil {
		// RFC 7519 allows fractions.
		f, ferr := n.Float64()
		if ferr != nil || f < 0 || f > 1e12 {
			return time.Time{}, false
		}
		seconds = int64(f)
	}
	t := time.Unix(seconds, 0).UTC()
	if seconds <= 0 || !writable(t) {
		return time.Time{}, false
	}
	return t, true
}

// maxRetryAfter bounds what a server may ask for; the agent's deadline is
// shorter anyway.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header Retry-After, seconds or an HTTP date (RFC 9110,
// section 10.2.3); 0 if there is none.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(value); err == nil {
		return min(max(0, t.Sub(now)), maxRetryAfter)
	}
	return 0
}
