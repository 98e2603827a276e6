package client

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// remote answers every request in the same way.
type remote struct {
	status int
	retry  string
	body   string
}

func (r remote) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: r.status, Header: http.Header{"Retry-After": {r.retry}},
		Body: io.NopCloser(strings.NewReader(r.body)),
	}, nil
}

// FuzzAnswer: whatever a gateway answers, an error is one line for a terminal, and
// holds no secret of the request.
func FuzzAnswer(f *testing.F) {
	const token, value = "t-0123456789abcdef0123456789abcdef", "correct horse battery staple"
	f.Add(200, "", []byte(`{"token":"eyJ","expiration":"2030-06-01T12:00:00Z","creds":{"token":"eyJ","expiry":5}}`))
	f.Add(200, "", []byte(`{"token":{}}`))
	f.Add(401, "", []byte(`{"error":"no: `+token+`"}`))
	f.Add(429, "5", []byte(`{"error":"`+value+`\n\u001b[31m"}`))
	f.Add(503, value, []byte(`{"error":"x"}`))
	f.Add(400, "", []byte("{\"error\":\"t-0123456789abcdef\xff0123456789abcdef\"}"))
	f.Add(401, "", []byte(`{"error":"correct\thorse\u0000 battery\nstaple"}`))
	f.Add(307, "", []byte(``))
	f.Add(502, "", []byte(`<html>`+token))
	f.Fuzz(func(t *testing.T, status int, retry string, body []byte) {
		c, err := New(Options{URL: "https://gateway.example:8000", Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		c.http.Transport = remote{status, retry, string(body)}
		var answer v2.AuthAnswer
		err = c.Call(t.Context(), "auth", &v2.Auth{}, &answer, token, value)
		if err == nil {
			if status != http.StatusOK {
				t.Errorf("status %d is an answer", status)
			}
			return
		}
		text := err.Error()
		if strings.Contains(text, token) || strings.Contains(text, value) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 3000 {
			t.Errorf("the error is %q", text)
		}
		if refused, ok := errors.AsType[*Error](err); ok && refused.Status != status {
			t.Errorf("status %d is told as %d", status, refused.Status)
		}
	})
}
