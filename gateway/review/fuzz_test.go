package review

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/client-go/rest"
)

// longToken has parts that are long enough to be looked for in what comes back.
var longToken = strings.Join([]string{
	base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"of-the-api-server"}`)),
	base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://kubernetes.default.svc","sub":"system:serviceaccount:ns:sa"}`)),
	base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("signature", 8))),
}, ".")

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

// asking is a client whose requests go to r.
func asking(t testing.TB, r http.RoundTripper) *Client {
	t.Helper()
	c, err := New(Options{Config: &rest.Config{Host: "https://api.example"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.authorised = r
	return c
}

// FuzzAnswer: whatever an API server says of a token, it is let in only by an
// answer that says so, and no text that goes on to a log has the token.
func FuzzAnswer(f *testing.F) {
	f.Add(201, "", []byte(`{"kind":"TokenReview","status":{"authenticated":true,"audiences":["a"],"user":{"username":"u","uid":"1","extra":{"k":["v"]}}}}`))
	f.Add(201, "", []byte(`{"kind":"TokenReview","status":{"authenticated":false,"error":"`+longToken+` is invalid for the target audiences"}}`))
	f.Add(201, "", []byte(`{"kind":"TokenReview","status":{"authenticated":false,"authenticated":true}}`))
	f.Add(200, "", []byte(`{"kind":"TokenReview","status":{"Authenticated":true,"user":{"username":"u"}}}`))
	f.Add(429, "7", []byte(`{"kind":"Status","message":"slow down"}`))
	f.Add(503, "-1", []byte(`<html>`+longToken))
	f.Add(401, "", []byte("\xff"))
	f.Fuzz(func(t *testing.T, status int, retry string, body []byte) {
		user, err := asking(t, remote{status, retry, string(body)}).review(t.Context(), longToken, "a")
		if (user == nil) == (err == nil) {
			t.Fatalf("user %v and error %v", user, err)
		}
		if err == nil {
			checkUser(t, status, body, user.Username)
			return
		}
		var rejection *Rejection
		var failure *Failure
		detail := ""
		switch {
		case errors.As(err, &rejection):
			detail = rejection.Detail + rejection.Public()
		case errors.As(err, &failure) && failure.RetryAfter >= 0:
			detail = failure.Detail
		default:
			t.Fatalf("%#v", err)
		}
		if len(detail) > 2000 {
			t.Errorf("an explanation of %d bytes", len(detail))
		}
		for part := range strings.SplitSeq(longToken, ".") {
			if strings.Contains(detail, part) {
				t.Errorf("the explanation holds a part of the token: %q", detail)
			}
		}
	})
}

// checkUser has another decoder read the answer that let somebody in.
func checkUser(t *testing.T, status int, body []byte, name string) {
	t.Helper()
	var whole struct {
		Status map[string]any `json:"status"`
	}
	err := json.Unmarshal(body, &whole)
	if accepted, _ := whole.Status["authenticated"].(bool); err != nil || !accepted || status != http.StatusOK && status != http.StatusCreated {
		t.Fatalf("%q is let in by %d %q", name, status, body)
	}
	if user, _ := whole.Status["user"].(map[string]any); user["username"] != name || name == "" {
		t.Errorf("%q is let in by %q", name, body)
	}
}

// FuzzDiscovery: an issuer comes from a document that has it, and from no other.
func FuzzDiscovery(f *testing.F) {
	f.Add(200, []byte(`{"issuer":"https://kubernetes.default.svc","jwks_uri":"https://api.example/openid/v1/jwks"}`))
	f.Add(200, []byte(`{"issuer":["https://a"]}`))
	f.Add(200, []byte(`{"Issuer":"https://a"}`))
	f.Add(403, []byte(`{"kind":"Status","issuer":"https://a"}`))
	f.Add(200, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		issuer, err := asking(t, remote{status: status, body: string(body)}).discover(t.Context())
		if err != nil && (issuer != "" || strings.Contains(err.Error(), "\n")) {
			t.Fatalf("issuer %q and error %v", issuer, err)
		}
		if issuer == "" {
			return
		}
		var document map[string]any
		if json.Unmarshal(body, &document) != nil || document["issuer"] != issuer || status != http.StatusOK {
			t.Errorf("issuer %q of %d %q", issuer, status, body)
		}
	})
}

// FuzzIssuer: the issuer of a token is what its payload says, once.
func FuzzIssuer(f *testing.F) {
	for _, payload := range []string{`{"iss":"https://a"}`, `{"iss":"a","iss":"b"}`, `{"ISS":"a"}`, `{"iss":1}`, `{"iss":"\ud800"}`, `[]`, ``} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		token := "aGVhZA." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
		issuer := issuerOf(token)
		if issuer == "" {
			return
		}
		var claims map[string]any
		if json.Unmarshal(payload, &claims) != nil || claims["iss"] != issuer || !utf8.ValidString(issuer) {
			t.Errorf("issuer %q of %q", issuer, payload)
		}
		err := (&Client{issuer: "https://asked.for.example"}).checkIssuer(t.Context(), token)
		var rejection *Rejection
		if issuer != "https://asked.for.example" && (!errors.As(err, &rejection) || rejection.Reason != ReasonIssuer) {
			t.Errorf("issuer %q: %v", issuer, err)
		}
	})
}
