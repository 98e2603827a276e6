package login

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/agent/gatetest"
)

var noon = time.Date(2030, 6, 1, 12, 0, 0, 500, time.UTC)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		value string
		want  time.Duration
	}{
		"seconds are read":                  {"2", 2 * time.Second},
		"white space is ignored":            {" 7 ", 7 * time.Second},
		"zero is no wait":                   {"0", 0},
		"a date is read":                    {"Sat, 01 Jun 2030 12:00:30 GMT", 30*time.Second - 500},
		"a date in the past is no wait":     {"Sat, 01 Jun 2030 11:00:30 GMT", 0},
		"a negative number is ignored":      {"-5", 0},
		"a fraction is ignored":             {"1.5", 0},
		"nothing is no wait":                {"", 0},
		"words are ignored":                 {"soon", 0},
		"a number without end is ignored":   {strings.Repeat("9", 40), 0},
		"a wait of years is cut to a day":   {"4000000000", 24 * time.Hour},
		"a date in years is cut to a day":   {"Sat, 01 Jun 2069 12:00:30 GMT", 24 * time.Hour},
		"a date of RFC 850 is read as well": {"Saturday, 01-Jun-30 12:00:30 GMT", 30*time.Second - 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := retryAfter(tt.value, noon); got != tt.want {
				t.Errorf("retryAfter(%q) = %v, want %v", tt.value, got, tt.want)
			}
		})
	}
}

func TestSessionTimes(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		parsed, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	token := func(claims map[string]any) string { return gatetest.Token(t, claims) }
	for name, tt := range map[string]struct {
		body           string
		issued, expiry time.Time
	}{
		"the expiration's text wins": {
			`{"token":"t","expiration":"2030-06-01T14:15:00+02:00","creds":{"expiry":1}}`, at("2030-06-01T12:00:00Z"), at("2030-06-01T12:15:00Z")},
		"creds say it when the text is empty": {
			`{"token":"t","expiration":"","creds":{"expiry":1906546500}}`, at("2030-06-01T12:00:00Z"), at("2030-06-01T12:15:00Z")},
		"the claims say it when nothing else does": {
			`{"token":"` + token(map[string]any{"iat": 1906545000, "exp": 1906546500}) + `"}`, at("2030-06-01T11:50:00Z"), at("2030-06-01T12:15:00Z")},
		"claims with fractions are read": {
			`{"token":"` + token(map[string]any{"iat": 1906545000.7, "exp": 1906546500.2}) + `"}`, at("2030-06-01T11:50:00Z"), at("2030-06-01T12:15:00Z")},
		"an opaque token has an unknown expiry":     {`{"token":"t-12345"}`, at("2030-06-01T12:00:00Z"), time.Time{}},
		"fields of other types don't fail a login":  {`{"token":"t","expiration":5,"creds":"x"}`, at("2030-06-01T12:00:00Z"), time.Time{}},
		"times that can't be written are left out":  {`{"token":"t","creds":{"expiry":999999999999999}}`, at("2030-06-01T12:00:00Z"), time.Time{}},
		"claims that are no times are left out":     {`{"token":"` + token(map[string]any{"iat": "now", "exp": -5}) + `"}`, at("2030-06-01T12:00:00Z"), time.Time{}},
		"claims beyond all measure are left out":    {`{"token":"` + token(map[string]any{"iat": 1e300, "exp": 1e18}) + `"}`, at("2030-06-01T12:00:00Z"), time.Time{}},
		"three parts that are no JWT are no claims": {`{"token":"a.b.c"}`, at("2030-06-01T12:00:00Z"), time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, failure := parse(v2{}, "login", http.StatusOK, nil, []byte(tt.body), noon)
			if failure != nil {
				t.Fatal(failure)
			}
			if diff := cmp.Diff([]time.Time{tt.issued, tt.expiry}, []time.Time{s.Issued, s.Expiry}); diff != "" {
				t.Errorf("issued and expiry (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBaseURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://g:8000":         "https://g:8000",
		"https://g:8000/":        "https://g:8000",
		"https://g:8000/v2":      "https://g:8000",
		"https://g:8000/api/v2/": "https://g:8000",
		"https://g:8000/x":       "https://g:8000/x",
	} {
		t.Run(in+" is "+want, func(t *testing.T) {
			t.Parallel()
			if got := baseURL(in); got != want {
				t.Errorf("got %s", got)
			}
		})
	}
}

// FuzzParse: no answer makes the client panic, yield a token that would break
// a header, or a reason that is not one line.
func FuzzParse(f *testing.F) {
	f.Add(200, "", []byte(`{"token":"`+gatetest.Token(f, map[string]any{"iat": 1, "exp": 2})+`","expiration":"2030-06-01T12:00:00Z","creds":{"expiry":5}}`))
	f.Add(200, "", []byte(`{"token":"a.eyJleHAiOjFlMzA5fQ.b"}`))
	f.Add(200, "", []byte(`<html>`))
	f.Add(403, "", []byte(`{"error":"no"}`))
	f.Add(429, "2", []byte(`{"error":["x"]}`))
	f.Add(503, "Sat, 01 Jun 2030 12:00:30 GMT", []byte(``))
	f.Add(302, "", []byte(``))
	f.Add(200, "", []byte(`{"wrap_info":{"token":"hvs.w"},"auth":null}`))
	f.Add(200, "", []byte(`{"auth":{"client_token":"hvs.x","lease_duration":9223372036854775807,"renewable":true}}`))
	f.Add(404, "", []byte(`{"errors":[]}`))
	f.Fuzz(func(t *testing.T, status int, retry string, body []byte) {
		for _, w := range []wire{v2{}, &vault{path: "auth/kubernetes"}} {
			checkParse(t, w, status, retry, body)
		}
	})
}

func checkParse(t *testing.T, w wire, status int, retry string, body []byte) {
	t.Helper()
	header := http.Header{"Retry-After": {retry}, "Location": {retry}}
	s, failure := parse(w, "login", status, header, body, noon)
	if failure != nil {
		if s.Token != "" {
			t.Error("a failure with a token")
		}
		reason := newScrubber("an-identity-token-of-a-pod").text(failure.Reason)
		if reason == "" || strings.ContainsAny(reason, "\n\r\x00\x1b") || failure.Kind == 0 || failure.RetryAfter < 0 {
			t.Errorf("failure %+v with reason %q", failure, reason)
		}
		return
	}
	if status != 200 || s.Token == "" || strings.ContainsAny(s.Token, " \r\n\t\x00") {
		t.Errorf("status %d gave the token %q", status, s.Token)
	}
	for _, at := range []time.Time{s.Issued, s.Expiry} {
		if _, err := at.MarshalJSON(); err != nil {
			t.Errorf("a time that can't be written: %v", err)
		}
	}
}

func FuzzScrub(f *testing.F) {
	const secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"
	f.Add("reason ", 0, 40)
	f.Add("a\nb", 3, 20)
	f.Add("eyJ", 10, 30)
	f.Fuzz(func(t *testing.T, around string, from, length int) {
		from = min(max(from, 0), len(secret)-fragment)
		length = min(max(length, fragment), len(secret)-from)
		part := secret[from : from+length]
		got := newScrubber(secret).text(around + part + around)
		if strings.Contains(got, part) || strings.ContainsAny(got, "\n\x00") {
			t.Errorf("got %q", got)
		}
	})
}
