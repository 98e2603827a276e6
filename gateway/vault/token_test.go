package vault

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/gateway/authmethod"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/session"
)

// renewals remembers what a session was renewed until.
type renewals struct {
	catalog.Accessor
	until, expires time.Time
	count          int
}

func (r *renewals) RenewSession(_ context.Context, until, expires time.Time) error {
	r.until, r.expires = until, expires
	r.count++
	return nil
}

func TestLookupSelf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.session.Claims.Lease = r.session.Claims.IssuedAt + 900
		r.session.Ends = time.Unix(r.session.Claims.Lease, 0)
		time.Sleep(100 * time.Second)
		got := r.do(t, "GET", "/v1/auth/token/lookup-self", "")
		issued := time.Unix(r.session.Claims.IssuedAt, 0).UTC()
		want := map[string]any{
			"accessor": r.session.accessor(), "creation_time": float64(issued.Unix()), "creation_ttl": 900.0, "display_name": "system:serviceaccount:ns:web",
			"entity_id": "", "expire_time": issued.Add(900 * time.Second).Format(time.RFC3339Nano), "explicit_max_ttl": 3600.0, "id": aToken,
			"issue_time": issued.Format(time.RFC3339Nano),
			"meta": map[string]any{"role": "web", "service_account_name": "web", "service_account_namespace": "ns",
				"service_account_secret_name": "", "service_account_uid": "u"},
			"num_uses": 0.0, "orphan": true, "path": "auth/kubernetes/login", "policies": []any{"default"}, "renewable": true, "ttl": 800.0, "type": "service",
		}
		if diff := cmp.Diff(want, got.Data); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRenewSelf(t *testing.T) {
	t.Parallel()
	const ttl, life = 900, 3600 // seconds
	for _, tt := range []struct {
		name, body string
		after      time.Duration // since the login
		ends       time.Duration // of the lease, since the login; 0 is the first
		lease      float64       // of the answer, in seconds
		renewable  bool
		writes     int
	}{
		{"a renewal lasts as long as the first lease", `{"increment":0}`, 600 * time.Second, 0, ttl, true, 1},
		{"a body is not needed", ``, 600 * time.Second, 0, ttl, true, 1},
		{"a shorter increment is kept to", `{"increment":"400"}`, 600 * time.Second, 0, 400, true, 1},
		{"an increment may be a duration", `{"increment":"7m"}`, 600 * time.Second, 0, 420, true, 1},
		{"a longer increment is not", `{"increment":3600}`, 600 * time.Second, 0, ttl, true, 1},
		{"a renewal never shortens", `{"increment":10}`, 600 * time.Second, 0, 300, true, 0},
		{"a renewal at once writes nothing", `{}`, 0, 0, ttl, true, 0},
		{"a renewal ends with the session", `{}`, 3000 * time.Second, 3100 * time.Second, 600, false, 1},
		{"a session that ends can't be renewed further", `{}`, 3500 * time.Second, 3600 * time.Second, 100, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now().Truncate(time.Second)
				r := newRig(t)
				r.session = &Session{
					Claims: &session.Claims{IssuedAt: began.Unix(), Lease: began.Unix() + ttl, Expiry: began.Unix() + life, ID: "an-id"},
					Ends:   began.Add(ttl * time.Second),
					Method: &authmethod.Method{Name: "web", SessionTTL: ttl * time.Second},
				}
				if tt.ends != 0 {
					r.session.Ends = began.Add(tt.ends)
				}
				kept := &renewals{}
				r.as = kept
				time.Sleep(tt.after)
				got := r.do(t, "PUT", "/v1/auth/token/renew-self", tt.body)
				if got.status != 200 || got.Auth["client_token"] != aToken || got.Auth["lease_duration"] != tt.lease || got.Auth["renewable"] != tt.renewable {
					t.Errorf("%d %s", got.status, got.text)
				}
				if kept.count != tt.writes {
					t.Errorf("%d renewals were written, want %d", kept.count, tt.writes)
				}
				until := began.Add(tt.after + time.Duration(tt.lease)*time.Second)
				if tt.writes > 0 && (!kept.until.Equal(until) || !kept.expires.Equal(began.Add(life*time.Second))) {
					t.Errorf("renewed until %s, want %s; expires %s", kept.until, until, kept.expires)
				}
			})
		})
	}
	t.Run("a session without a lease can't be renewed", func(t *testing.T) {
		t.Parallel()
		if got := newRig(t).do(t, "PUT", "/v1/auth/token/renew-self", `{}`); got.status != 400 || got.errors() != "lease is not renewable" {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	for _, increment := range []string{`"x"`, `-1`, `1.5`, `{}`, `[1]`, `9223372036854775807`, `"-1h"`} {
		t.Run("an increment of "+increment, func(t *testing.T) {
			t.Parallel()
			if got := newRig(t).do(t, "PUT", "/v1/auth/token/renew-self", `{"increment":`+increment+`}`); got.status != 400 {
				t.Errorf("%d %s", got.status, got.text)
			}
		})
	}
}
