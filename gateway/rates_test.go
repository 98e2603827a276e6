package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/internal/connlimit"
)

func TestRates(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	fresh := func() *rates[string] { return newRates[string](Rate{PerSecond: 2, Burst: 3}) }
	drain := func(t *testing.T, r *rates[string], key string, tokens int) {
		t.Helper()
		for i := range tokens {
			if v := r.take(key, now); v.wait != 0 {
				t.Fatalf("request %d waits %s", i, v.wait)
			}
		}
	}
	t.Run("a burst goes through, and the next is told the time until there is a token", func(t *testing.T) {
		t.Parallel()
		r := fresh()
		drain(t, r, "a", 3)
		if v := r.take("a", now); v.wait != time.Second/2 {
			t.Errorf("waits %s", v.wait)
		}
		if v := r.take("a", now.Add(time.Second/2)); v.wait != 0 {
			t.Errorf("waits %s when there is one", v.wait)
		}
		if v := r.take("a", now.Add(3*time.Second/4)); v.wait != time.Second/4 {
			t.Errorf("waits %s for the rest of a token", v.wait)
		}
	})
	t.Run("others have tokens of their own", func(t *testing.T) {
		t.Parallel()
		r := fresh()
		drain(t, r, "a", 3)
		drain(t, r, "b", 3)
	})
	t.Run("who looks takes no token", func(t *testing.T) {
		t.Parallel()
		r := fresh()
		for range 10 {
			if v := r.look("a", now); v.wait != 0 {
				t.Fatalf("waits %s", v.wait)
			}
		}
		drain(t, r, "a", 3)
		if v := r.look("a", now); v.wait != time.Second/2 {
			t.Errorf("waits %s when there is none", v.wait)
		}
	})
	t.Run("a burst that is not given is a second's tokens", func(t *testing.T) {
		t.Parallel()
		r := newRates[string](Rate{PerSecond: 5})
		drain(t, r, "a", 5)
		if v := r.take("a", now); v.wait != time.Second/5 {
			t.Errorf("waits %s", v.wait)
		}
	})
	t.Run("less than one a second lets one through at once", func(t *testing.T) {
		t.Parallel()
		r := newRates[string](Rate{PerSecond: 0.1})
		drain(t, r, "a", 1)
		if v := r.take("a", now); v.wait < 9*time.Second || v.wait > 10*time.Second {
			t.Errorf("waits %s", v.wait)
		}
	})
	t.Run("without a rate there is no limit", func(t *testing.T) {
		t.Parallel()
		r := newRates[string](Rate{Burst: 1})
		drain(t, r, "a", 1000)
	})
	t.Run("refusals are recorded once a second, with how many were not", func(t *testing.T) {
		t.Parallel()
		r := newRates[string](Rate{PerSecond: 0.001})
		drain(t, r, "a", 1)
		recorded := 0
		for range 100 {
			if r.take("a", now).record {
				recorded++
			}
		}
		if v := r.take("a", now.Add(time.Second)); recorded != 1 || !v.record || v.untold != 99 {
			t.Errorf("%d are recorded at once, and then %+v", recorded, v)
		}
	})
	t.Run("what is remembered is bounded", func(t *testing.T) {
		t.Parallel()
		r := newRates[netip.Addr](Rate{PerSecond: 1, Burst: 2})
		address := netip.MustParseAddr("10.0.0.0")
		for range 2 * rateShards * maxBuckets {
			address = address.Next()
			r.take(address, now)
		}
		for i := range r.shards {
			if n := len(r.shards[i].buckets); n > maxBuckets || n < maxBuckets/2 {
				t.Errorf("shard %d remembers %d", i, n)
			}
		}
	})
	t.Run("who has a full bucket is forgotten before others", func(t *testing.T) {
		t.Parallel()
		const burst = 2
		s := &rateShard[string]{buckets: map[string]*bucket{}}
		for i := range maxBuckets {
			s.buckets[strconv.Itoa(i)] = &bucket{limiter: rate.NewLimiter(1, burst)}
		}
		s.buckets["0"].limiter.AllowN(now, burst)
		s.makeRoom(now, burst)
		if len(s.buckets) != 1 || s.buckets["0"] == nil {
			t.Errorf("%d are remembered", len(s.buckets))
		}
	})
}

func TestNetworksOfClients(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::ffff:192.0.2.7": "192.0.2.7/32"} {
		request := &http.Request{RemoteAddr: netip.AddrPortFrom(netip.MustParseAddr(address), 1).String()}
		if got := connlimit.Network(clientAddress(request)).String(); got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
	}
}

// limitedFrom sends a request from an address.
func limitedFrom(t *testing.T, g *Gateway, address, method, path, body string) (*http.Response, string) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	request.RemoteAddr = address + ":1234"
	recorder := httptest.NewRecorder()
	g.ServeHTTP(recorder, request)
	return recorder.Result(), recorder.Body.String()
}

func TestTheRateOfAClient(t *testing.T) {
	t.Parallel()
	ring := keyring(t)
	for _, tt := range []struct {
		name, method, path, body string
		// event is what the audit log calls it, and vault whether the answer has Vault's form.
		event string
		vault bool
	}{
		{"a login", "POST", "/auth", "{}", "login", false},
		{"a login at another base", "POST", "/api/v2//auth/", "{}", "login", false},
		{"a login by Vault's protocol", "PUT", "/v1/auth/kubernetes/login", "{}", "login", true},
		{"validating a session", "POST", "/validate-token", "{}", "validate-token", false},
		{"a command in its newer spelling", "POST", "/auth-method-get", "{}", "get-auth-method", false},
		{"a command that there is not", "POST", "/secret-text", "{}", "unknown", false},
		{"a token review", "POST", "/k8s/token-review", "{}", "token-review", false},
		{"a request of Vault's protocol", "GET", "/v1/secret/data/a", "", "vault", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g, kept := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting), sessions: ring}, func(o *Options) {
					o.ClientRate = Rate{PerSecond: 0.4, Burst: 2}
				})
				for range 2 {
					if res, text := limitedFrom(t, g, "192.0.2.1", tt.method, tt.path, tt.body); res.StatusCode == http.StatusTooManyRequests {
						t.Fatalf("within the burst: %s", text)
					}
				}
				res, text := limitedFrom(t, g, "192.0.2.1", tt.method, tt.path, tt.body)
				if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "3" || res.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%d %v %s", res.StatusCode, res.Header, text)
				}
				want := `{"error":"too many requests of this client; try again later"}`
				if tt.vault {
					want = `{"errors":["too many requests of this client; try again later"]}`
				}
				if text != want {
					t.Errorf("answer %s", text)
				}
				if record := kept.last(t); record["event"] != tt.event || record["reason"] != "rate-limited" || record["result"] != "denied" || record["client"] != "192.0.2.1" {
					t.Errorf("audit log %v", record)
				}
				if n := count(t, g.metrics.limited.WithLabelValues(limitClient)); n != 1 {
					t.Errorf("%v are counted", n)
				}
				if res, text := limitedFrom(t, g, "192.0.2.2", tt.method, tt.path, tt.body); res.StatusCode == http.StatusTooManyRequests {
					t.Errorf("another client: %s", text)
				}
				time.Sleep(2500 * time.Millisecond) // of synctest's clock: one token
				if res, text := limitedFrom(t, g, "192.0.2.1", tt.method, tt.path, tt.body); res.StatusCode == http.StatusTooManyRequests {
					t.Errorf("after Retry-After: %s", text)
				}
			})
		})
	}
	t.Run("probes and published keys are free", func(t *testing.T) {
		t.Parallel()
		g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting), sessions: ring}, func(o *Options) { o.ClientRate = Rate{PerSecond: 0.001} })
		for range 3 {
			for _, path := range []string{"/healthz", "/readyz", "/v1/sys/health", session.DiscoveryPath, session.JWKSPath} {
				if res, text := limitedFrom(t, g, "192.0.2.1", "GET", path, ""); res.StatusCode == http.StatusTooManyRequests {
					t.Errorf("%s: %s", path, text)
				}
			}
		}
	})
}

// admitting reviews every token as that of one service account.
type admitting struct{ reviews int }

func (a *admitting) Review(context.Context, string, string) (*authmethod.User, error) {
	a.reviews++
	return &authmethod.User{Username: "system:serviceaccount:ns:web", UID: "u"}, nil
}

func TestTheRateOfAnAuthMethod(t *testing.T) {
	t.Parallel()
	ring := keyring(t)
	newLimited := func(t *testing.T, r Reviewer) (*Gateway, *records) {
		state := &fixedState{method: authmethod.Method{Name: "my-method", SessionTTL: time.Minute}, reviewer: r, sessions: ring}
		return newGateway(t, state, func(o *Options) { o.MethodRate = Rate{PerSecond: 0.25, Burst: 1} })
	}
	t.Run("a login beyond it is refused before its token is reviewed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			reviewer := &admitting{}
			g, kept := newLimited(t, reviewer)
			if res, text := serve(t, g, "POST", "/auth", loginBody(aToken)); res.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", res.StatusCode, text)
			}
			res, text := serve(t, g, "POST", "/auth", loginBody(aToken))
			if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "4" || !strings.Contains(text, "with this auth method") || reviewer.reviews != 1 {
				t.Errorf("%d %s after %d reviews", res.StatusCode, text, reviewer.reviews)
			}
			if record := kept.last(t); record["event"] != "login" || record["reason"] != "rate-limited" || record["auth_method"] != "my-method" {
				t.Errorf("audit log %v", record)
			}
			if n := count(t, g.metrics.limited.WithLabelValues(limitMethod)); n != 1 {
				t.Errorf("%v are counted", n)
			}
			res, text = limitedFrom(t, g, "192.0.2.1", "PUT", "/v1/auth/k8s-conf/login", `{"role":"my-method","jwt":"`+aToken+`"}`)
			if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "4" || !strings.HasPrefix(text, `{"errors":["too many`) {
				t.Errorf("by Vault's protocol: %d %s", res.StatusCode, text)
			}
			if kept.lines.Len() > 0 { // the first line of this second told of it
				t.Errorf("audit log %s", &kept.lines)
			}
			time.Sleep(4 * time.Second)
			if res, text := serve(t, g, "POST", "/auth", loginBody(aToken)); res.StatusCode != http.StatusOK {
				t.Errorf("after Retry-After: %d %s", res.StatusCode, text)
			}
		})
	})
	t.Run("who is refused uses nothing up", func(t *testing.T) {
		t.Parallel()
		g, _ := newLimited(t, reviewerFunc(rejecting))
		for range 3 {
			if res, text := serve(t, g, "POST", "/auth", loginBody(aToken)); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%d %s", res.StatusCode, text)
			}
		}
	})
	t.Run("commands are counted apart from logins", func(t *testing.T) {
		t.Parallel()
		g, kept := newLimited(t, &admitting{})
		token := sessionOf(t, g)
		body := `{"token":"` + token + `"}`
		if res, text := serve(t, g, "POST", "/describe-sub-claims", body); res.StatusCode != http.StatusOK {
			t.Errorf("%d %s", res.StatusCode, text)
		}
		if res, text := serve(t, g, "POST", "/describe-item", body); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "4" {
			t.Errorf("%d %s", res.StatusCode, text)
		}
		record := kept.last(t)
		if record["event"] != "describe-item" || record["reason"] != "rate-limited" || record["access_id"] != accessID || record["session"] == nil || record["subject"] == nil {
			t.Errorf("audit log %v", record)
		}
		request := httptest.NewRequest(http.MethodGet, "/v1/secret/data/a", http.NoBody)
		request.Header.Set("X-Vault-Token", token)
		recorder := httptest.NewRecorder()
		g.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusTooManyRequests || recorder.Header().Get("Retry-After") != "4" || !strings.HasPrefix(recorder.Body.String(), `{"errors":["too many`) {
			t.Errorf("by Vault's protocol: %d %s", recorder.Code, recorder.Body)
		}
		if res, text := serve(t, g, "POST", "/validate-token", body); res.StatusCode != http.StatusOK || !strings.Contains(text, `"is_valid":true`) {
			t.Errorf("validating: %d %s", res.StatusCode, text)
		}
	})
}

// sessionOf logs in.
func sessionOf(t *testing.T, g *Gateway) string {
	t.Helper()
	_, text := serve(t, g, "POST", "/auth", loginBody(aToken))
	var given struct{ Token string }
	if err := json.Unmarshal([]byte(text), &given); err != nil || given.Token == "" {
		t.Fatalf("%v in %s", err, text)
	}
	return given.Token
}
