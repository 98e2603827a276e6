package review

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// of makes a token with a payload.
func of(payload string) string {
	return "aGVhZA." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestIssuer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, token string
		client      *Client
		accepted    bool
	}{
		{"the issuer that is asked for", of(`{"iss":"https://a"}`), &Client{issuer: "https://a"}, true},
		{"another issuer", of(`{"iss":"https://b"}`), &Client{issuer: "https://a"}, false},
		{"one that begins like it", of(`{"iss":"https://a/"}`), &Client{issuer: "https://a"}, false},
		{"no issuer", of(`{}`), &Client{issuer: "https://a"}, false},
		{"two issuers", of(`{"iss":"https://b","iss":"https://a"}`), &Client{issuer: "https://a"}, false},
		{"an issuer that is a list", of(`{"iss":["https://a"]}`), &Client{issuer: "https://a"}, false},
		{"a Secret's token where an issuer is asked for", of(`{"iss":"kubernetes/serviceaccount"}`), &Client{issuer: "https://a"}, false},
		{"a payload that is none", "a.!.b", &Client{issuer: "https://a"}, false},
		{"a token without a payload", "a", &Client{issuer: "https://a"}, false},
		{"any issuer, if nobody asks", of(`{"iss":"https://b"}`), &Client{issuer: "https://a", anyIssuer: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.client.checkIssuer(t.Context(), tt.token)
			var rejection *Rejection
			if tt.accepted != (err == nil) || err != nil && (!errors.As(err, &rejection) || rejection.Reason != ReasonIssuer) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("an API server that names no issuer leaves it open", func(t *testing.T) {
		t.Parallel()
		for _, handler := range []struct {
			status int
			body   string
		}{{403, `{"kind":"Status"}`}, {404, "not found"}, {200, "<html>"}} {
			c := failing(t, Options{}, answers(handler.status, handler.body))
			if err := c.checkIssuer(t.Context(), of(`{"iss":"https://b"}`)); err != nil {
				t.Errorf("%d: %v", handler.status, err)
			}
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A token of the new issuer is not refused until the old one is forgotten, and one of
// another issuer does not make the gateway ask again each time.
func TestAnIssuerThatChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		named, asked := "https://a", 0
		c := asking(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			asked++
			return remote{status: 200, body: `{"issuer":"` + named + `"}`}.RoundTrip(r)
		}))
		expect := func(issuer string, accepted bool, questions int) {
			t.Helper()
			err := c.checkIssuer(t.Context(), of(`{"iss":"`+issuer+`"}`))
			if accepted != (err == nil) || asked != questions {
				t.Errorf("issuer %s after %d questions: %v", issuer, asked, err)
			}
		}
		expect("https://a", true, 1)
		expect("https://b", false, 1)
		time.Sleep(issuerPause)
		expect("https://b", false, 2)
		expect("https://a", true, 2)
		named = "https://b"
		expect("https://a", true, 2)
		time.Sleep(issuerPause)
		expect("https://b", true, 3)
		expect("https://a", false, 3)
		expect(legacyIssuer, true, 3)
		time.Sleep(issuerInterval)
		expect("https://b", true, 4)
	})
}

// An API server that does not answer costs a login two seconds at most, and the
// others none, once the issuer was known; and it is asked again soon.
func TestAnIssuerThatIsSlowToTell(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, hangs := 0, true
		c := asking(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			if asked++; hangs {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return remote{status: 200, body: `{"issuer":"https://a"}`}.RoundTrip(r)
		}))
		check := func(ctx context.Context, issuer string, want time.Duration, accepted bool) {
			t.Helper()
			began := time.Now()
			err := c.checkIssuer(ctx, of(`{"iss":"`+issuer+`"}`))
			if took := time.Since(began); took != want || accepted != (err == nil) {
				t.Errorf("after %s: %v", took, err)
			}
		}
		check(t.Context(), "https://a", issuerTimeout, true) // nobody knows better
		check(t.Context(), "https://b", 0, true)
		time.Sleep(issuerPause)
		go check(t.Context(), "https://b", issuerTimeout, true)
		synctest.Wait()
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		check(impatient, "https://b", time.Second, false)
		time.Sleep(issuerPause + issuerTimeout)
		hangs = false
		check(t.Context(), "https://b", 0, false)
		time.Sleep(issuerInterval)
		hangs = true
		go check(t.Context(), "https://a", issuerTimeout, true)
		synctest.Wait()
		check(t.Context(), "https://a", 0, true)
		check(t.Context(), "https://b", 0, false)
		time.Sleep(time.Minute)
		if asked != 4 {
			t.Errorf("asked %d times", asked)
		}
	})
}
