package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/review"
)

func TestLoginRefuses(t *testing.T) {
	t.Parallel()
	base64Of := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	long := "aGVhZA." + strings.Repeat("A", maxToken) + ".c2ln"
	for _, tt := range []struct {
		name, body   string
		status       int
		text, reason string
	}{
		{"no body", "", 400, "not a JSON object", "bad-request"},
		{"a body that is not JSON", "access-id=x", 400, "not a JSON object", "bad-request"},
		{"a list", "[]", 400, "not a JSON object", "bad-request"},
		{"two objects", "{}{}", 400, "not a JSON object", "bad-request"},
		{"an object that breaks off", `{"access-id":"`, 400, "not a JSON object", "bad-request"},
		{"a number for text", `{"access-id":1}`, 400, "field /access-id of the request body can't be a JSON number", "bad-request"},
		{"an object for the token", `{"k8s-service-account-token":{}}`, 400, "can't be a JSON {", "bad-request"},
		{"a field given twice", `{"access-type":"k8s","access-type":"k8s"}`, 400, "more than once", "bad-request"},
		{"text that is not UTF-8", "{\"access-id\":\"\xff\"}", 400, "not a JSON object", "bad-request"},
		{"deep nesting", strings.Repeat(`{"a":`, 12000), 400, "not a JSON object", "bad-request"},
		{"null", "null", 400, "access-id and access-key must be given", "access-key-missing"},
		{"no access type is access_key", `{"access-id":"` + accessID + `"}`, 400, "access-id and access-key must be given", "access-key-missing"},
		{"an empty access key", `{"access-type":"access_key","access-id":"` + accessID + `","access-key":""}`, 400, "access-id and access-key must be given", "access-key-missing"},
		{"an access type of another gateway", `{"access-type":"saml"}`, 400, "access type [saml] is not supported by this gateway; use k8s or access_key", "access-type-not-supported"},
		{"an access type in another case", strings.Replace(loginBody(aToken), `"k8s"`, `"K8S"`, 1), 400, "access type [K8S] is not supported", "access-type-not-supported"},
		{"an unknown auth config", strings.Replace(loginBody(aToken), "k8s-conf", "x", 1), 401, "k8s auth name [x] not found", "auth-config-not-found"},
		{"an unknown access id", strings.Replace(loginBody(aToken), accessID, "p-x", 1), 401, "access id [p-x] does not belong to k8s auth name [k8s-conf]", "access-id-mismatch"},
		{"a long access id is shortened", strings.Replace(loginBody(aToken), accessID, strings.Repeat("x", 1000), 1), 401, strings.Repeat("x", 128) + "…]", "access-id-mismatch"},
		{"no token", loginBody(""), 400, "k8s-service-account-token is missing", "token-missing"},
		{"a token of white space", loginBody(` \n\t `), 400, "k8s-service-account-token is missing", "token-missing"},
		{"a token that is neither", loginBody("???"), 401, "neither a JWT nor base64", "token-malformed"},
		{"base64 of something else", loginBody(base64Of("hello")), 401, "not a JWT", "token-malformed"},
		{"base64 of nothing", loginBody(base64Of("  ")), 401, "not a JWT", "token-malformed"},
		{"a JWT that is too long", loginBody(long), 401, "too large", "token-too-large"},
		{"base64 of a JWT that is too long", loginBody(base64Of(long)), 401, "too large", "token-too-large"},
		{"a token with JSON in it", loginBody(`a.b\",\"x\":\".c`), 401, "not a JWT", "token-malformed"},
		{"a token that the API server refuses", loginBody(aToken), 401, "failed to validate token: the API server does not accept the token", "token-not-accepted"},
		{"the same in base64, with white space", loginBody(` ` + base64Of("\n"+aToken+"\n") + `\n`), 401, "failed to validate token: the API server does not accept the token", "token-not-accepted"},
		{"unknown fields are ignored", strings.Replace(loginBody(aToken), "{", `{"json":true,"debug":false,"gcp-audience":"x","uid-token":null,"nested":{"a":[1]},`, 1), 401, "does not accept", "token-not-accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, kept := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
			res, text := serve(t, g, http.MethodPost, "/auth", tt.body)
			if res.StatusCode != tt.status || !strings.Contains(text, tt.text) {
				t.Errorf("%d %s, want %d %q", res.StatusCode, text, tt.status, tt.text)
			}
			record := kept.last(t)
			if record["result"] != "denied" || record["reason"] != tt.reason || record["client"] != "192.0.2.1" {
				t.Errorf("audit log %v, want reason %q", record, tt.reason)
			}
			if got := count(t, g.metrics.logins.WithLabelValues("denied", tt.reason)); got != 1 {
				t.Errorf("counted %v times", got)
			}
		})
	}
}

func TestNobodyWithoutATokenLearnsAccessIDs(t *testing.T) {
	t.Parallel()
	g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
	for _, token := range []string{"", "???"} {
		known, knownText := serve(t, g, http.MethodPost, "/auth", loginBody(token))
		unknown, unknownText := serve(t, g, http.MethodPost, "/auth", strings.Replace(loginBody(token), accessID, "p-x", 1))
		if known.StatusCode != unknown.StatusCode || knownText != unknownText {
			t.Errorf("token %q: a known access id gets %d %s, an unknown one %d %s", token, known.StatusCode, knownText, unknown.StatusCode, unknownText)
		}
	}
}

func TestLoginFailures(t *testing.T) {
	t.Parallel()
	failure := func(reason review.Reason, wait time.Duration) reviewerFunc {
		return func(context.Context) error {
			return &review.Failure{Reason: reason, Detail: "inner detail", RetryAfter: wait}
		}
	}
	for _, tt := range []struct {
		name         string
		reviewer     reviewerFunc
		status       int
		retry        string
		text, reason string
	}{
		{"an API server that can't be reached", failure(review.ReasonUnreachable, 0), 503, "2", "can't reach the Kubernetes API server, or gets no answer from it", "api-server-unreachable"},
		{"an API server that asks for time", failure(review.ReasonThrottled, 9*time.Second), 503, "9", "can't review it at the moment", "api-server-throttled"},
		{"an API server that fails", failure(review.ReasonServerError, 0), 503, "2", "can't review it at the moment", "api-server-error"},
		{"a reviewer that may not", failure(review.ReasonReviewerForbidden, 0), 503, "10", "its administrator finds the reason", "reviewer-forbidden"},
		{"an auth config that can't be used", failure(review.ReasonUnusable, 0), 503, "10", "can't use the auth config; its administrator", "auth-config-unusable"},
		{"a defect", func(context.Context) error { return errors.New("inner detail") }, 500, "", "internal error", "internal-error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, kept := newGateway(t, &fixedState{reviewer: tt.reviewer}, nil)
			res, text := serve(t, g, http.MethodPost, "/auth", loginBody(aToken))
			if res.StatusCode != tt.status || res.Header.Get("Retry-After") != tt.retry || !strings.Contains(text, tt.text) {
				t.Errorf("%d, Retry-After %q, %s", res.StatusCode, res.Header.Get("Retry-After"), text)
			}
			if strings.Contains(text, "inner detail") {
				t.Error("the caller reads the detail")
			}
			if record := kept.last(t); record["result"] != "failed" || record["reason"] != tt.reason || record["detail"] != "inner detail" {
				t.Errorf("audit log %v", record)
			}
		})
	}
	t.Run("a panic is answered and counted", func(t *testing.T) {
		t.Parallel()
		g, kept := newGateway(t, &fixedState{reviewer: reviewerFunc(func(context.Context) error { panic("secret") })}, nil)
		res, text := serve(t, g, http.MethodPost, "/auth", loginBody(aToken))
		if res.StatusCode != http.StatusInternalServerError || strings.Contains(text, "secret") || count(t, g.metrics.panics) != 1 {
			t.Errorf("%d %s", res.StatusCode, text)
		}
		if n := len(g.limits.of("k8s-conf").slots); n != 0 || g.limits.total.Load() != 0 {
			t.Errorf("%d turns are lost", n)
		}
		if record := kept.last(t); record["result"] != "failed" || record["reason"] != "internal-error" || record["access_id"] != accessID {
			t.Errorf("audit log %v", record)
		}
		if got := count(t, g.metrics.logins.WithLabelValues("failed", "internal-error")); got != 1 {
			t.Errorf("counted %v times", got)
		}
	})
	t.Run("a login that can't be recorded is refused", func(t *testing.T) {
		t.Parallel()
		g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, func(o *Options) { o.Audit = noAudit{} })
		res, text := serve(t, g, http.MethodPost, "/auth", loginBody(aToken))
		if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "can't record logins") {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	})
	t.Run("without a configuration there is no login", func(t *testing.T) {
		t.Parallel()
		g, kept := newGateway(t, &fixedState{}, func(o *Options) {
			o.State = func() State { return nil }
			o.Ready = func() error { return errors.New("no valid configuration yet") }
		})
		for path, method := range map[string]string{"/auth": "POST", "/validate-token": "POST", "/describe-sub-claims": "POST", "/.well-known/jwks.json": "GET", "/readyz": "GET"} {
			if res, text := serve(t, g, method, path, "{}"); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "configuration") {
				t.Errorf("%s: %d %s", path, res.StatusCode, text)
			}
		}
		if record := kept.last(t); record["result"] != "failed" || record["reason"] != "not-configured" {
			t.Errorf("audit log %v", record)
		}
		if got := count(t, g.metrics.logins.WithLabelValues("failed", "not-configured")); got != 1 {
			t.Errorf("counted %v times", got)
		}
	})
	t.Run("a body that is too large is recorded", func(t *testing.T) {
		t.Parallel()
		g, kept := newGateway(t, &fixedState{}, nil)
		serve(t, g, http.MethodPost, "/auth", strings.Repeat(" ", maxLoginBody+1))
		if record := kept.last(t); record["result"] != "denied" || record["reason"] != "bad-request" {
			t.Errorf("audit log %v", record)
		}
	})
}

func TestSessionsEndWithTheirMethod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ring := keyring(t)
		g, _ := newGateway(t, &fixedState{sessions: ring}, nil)
		for _, tt := range []struct {
			name          string
			expires, want time.Duration // from now on; 0 is never, and no session
		}{
			{"a method without an end", 0, 15 * time.Minute},
			{"a method that ends later", time.Hour, 15 * time.Minute},
			{"a method that ends before the session would", time.Minute, time.Minute},
			{"a method that ends now", time.Millisecond, 0},
			{"a method that ended during the login", -time.Second, 0},
		} {
			method := &authmethod.Method{AccessID: accessID, SessionTTL: 15 * time.Minute}
			if tt.expires != 0 {
				method.Expires = time.Now().Add(tt.expires)
			}
			a := &attempt{}
			g.grant(&call{Request: httptest.NewRequest(http.MethodPost, "/auth", nil), state: &fixedState{sessions: ring}}, a,
				method, identified{subject: "system:serviceaccount:ns:sa"})
			if tt.want == 0 {
				if a.token != "" || a.event.Reason != string(authmethod.ReasonAccessExpired) || a.refused == nil || a.refused.status != http.StatusUnauthorized {
					t.Errorf("%s: %+v", tt.name, a)
				}
				continue
			}
			if a.claims == nil || a.claims.Expiry != time.Now().Add(tt.want).Unix() {
				t.Errorf("%s: %+v", tt.name, a.claims)
			}
		}
	})
}

type noAudit struct{}

func (noAudit) Write(*audit.Event) error { return errors.New("disk full") }

func FuzzAuth(f *testing.F) {
	g, kept := newGateway(f, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
	f.Add([]byte(loginBody(aToken)))
	f.Add([]byte(loginBody(base64.StdEncoding.EncodeToString([]byte(aToken)))))
	f.Add([]byte(`{"access-type":"k8s","k8s-service-account-token":"` + strings.Repeat("A", maxToken+1) + `"}`))
	f.Add([]byte(`{"access-id":"\ud800","access-type":"\u0000"}`))
	f.Add([]byte("{"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		res, text := serve(t, g, http.MethodPost, "/auth", string(body))
		switch res.StatusCode {
		case http.StatusBadRequest, http.StatusUnauthorized:
		case http.StatusRequestEntityTooLarge:
			return
		default:
			t.Errorf("%d %s", res.StatusCode, text)
		}
		if record := kept.last(t); record["result"] != "denied" || record["reason"] == "" {
			t.Errorf("audit log %v", record)
		}
	})
}
