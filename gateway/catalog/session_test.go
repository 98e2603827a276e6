package catalog

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/session"
)

// issued makes the claims of a session, as the gateway would now.
func (r *rig) issued(accessID, subject, id string) *session.Claims {
	now := r.View().IssueTime(accessID, subject, time.Now())
	return &session.Claims{ID: id, AccessID: accessID, Subject: subject, IssuedAt: now.Unix(), Expiry: now.Add(time.Hour).Unix()}
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	m, other := r.k8s("m"), r.k8s("other")
	live := func(s *session.Claims, want error) {
		t.Helper()
		if _, err := r.Live(s, time.Now()); !errors.Is(err, want) {
			t.Errorf("session %s: %v, want %v", s.ID, err, want)
		}
	}
	one, two, three, four := r.issued(m, "a", "1"), r.issued(m, "a", "2"), r.issued(m, "b", "3"), r.issued(other, "a", "4")
	live(one, nil)
	r.must(r.As(CallerOf(one, "", "v2")).RevokeSession(ctx, one.ExpiresAt()))
	live(one, session.ErrRevoked)
	live(two, nil)
	r.must(r.admin.RevokeIdentity(ctx, "m", "a"))
	live(two, session.ErrRevoked)
	live(three, nil)
	live(four, nil)
	five := r.issued(m, "a", "5")
	live(five, nil)
	if ahead := time.Until(time.Unix(five.IssuedAt, 0)); ahead > 5*time.Second {
		t.Errorf("a new session is issued %s in the future", ahead)
	}
	r.must(r.admin.RevokeMethod(ctx, "m"))
	live(three, session.ErrRevoked)
	live(four, nil)
	live(r.issued(m, "b", "6"), nil)
	for name, err := range map[string]error{
		"a session that is none":   r.As(Caller{}).RevokeSession(ctx, time.Now()),
		"a subject that is none":   r.admin.RevokeIdentity(ctx, "m", ""),
		"renewing what is none":    r.As(Caller{}).RenewSession(ctx, time.Now(), time.Now()),
		"a life that is too short": r.admin.UpdateSettings(ctx, Settings{SessionTTL: time.Second}),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryRevocationEndsWhatThereIs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.k8s("m")
	for n := range 20 { // far more than there are seconds in which they are made
		s := r.issued(m, "a", strconv.Itoa(n))
		if n%2 == 0 {
			r.must(r.admin.RevokeMethod(t.Context(), "m"))
		} else {
			r.must(r.admin.RevokeIdentity(t.Context(), "m", "a"))
		}
		if _, err := r.Live(s, time.Now()); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("revocation %d: %v", n, err)
		}
	}
}

func TestLeases(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.k8s("m")
	s := r.issued(m, "a", "1")
	now := time.Unix(s.IssuedAt, 0)
	s.Lease = now.Add(time.Minute).Unix()
	for _, tt := range []struct {
		renew time.Duration
		ends  time.Duration
	}{{0, time.Minute}, {30 * time.Second, time.Minute}, {10 * time.Minute, 10 * time.Minute}, {2 * time.Hour, time.Hour}} {
		if tt.renew != 0 {
			r.must(r.As(CallerOf(s, "", "vault")).RenewSession(t.Context(), now.Add(tt.renew), s.ExpiresAt()))
		}
		until, err := r.Live(s, now)
		if err != nil || !until.Equal(now.Add(tt.ends)) {
			t.Errorf("renewed for %s it ends %s, %v", tt.renew, until.Sub(now), err)
		}
		if _, err := r.Live(s, now.Add(tt.ends)); !errors.Is(err, session.ErrExpired) {
			t.Errorf("renewed for %s, at its end: %v", tt.renew, err)
		}
	}
}

func TestExpiredRecordsAreRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	m := r.k8s("m")
	for n := range 300 {
		s := r.issued(m, "a", strconv.Itoa(n))
		s.Expiry = time.Now().Add(time.Minute).Unix()
		if n%2 == 0 {
			r.must(r.As(CallerOf(s, "", "v2")).RevokeSession(ctx, s.ExpiresAt()))
		} else {
			r.must(r.As(CallerOf(s, "", "v2")).RenewSession(ctx, s.ExpiresAt(), s.ExpiresAt()))
		}
	}
	r.must(r.admin.RevokeMethod(ctx, "m"))
	r.must(r.admin.RevokeIdentity(ctx, "m", "a"))
	now := time.Now()
	for _, tt := range []struct {
		after         time.Duration
		removed, left int
	}{{0, 0, 302}, {time.Minute + 30*time.Second, 0, 302}, {3 * time.Minute, 300, 2}, {24 * time.Hour, 0, 2}, {26 * time.Hour, 2, 0}} {
		removed, err := r.removeExpired(ctx, now.Add(tt.after))
		if err != nil || removed != tt.removed {
			t.Errorf("after %s: %d removed, %v", tt.after, removed, err)
		}
		until(t, "the view to follow", func() bool {
			v := r.View()
			return v.revokedSessions.len()+v.revokedIdentities.len()+v.revokedMethods.len()+v.leases.len() == tt.left
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	for _, ttl := range []time.Duration{time.Hour, 2 * time.Hour} {
		r.must(r.admin.UpdateSettings(ctx, Settings{SessionTTL: ttl}))
		if got, err := r.admin.Settings(ctx); err != nil || got.SessionTTL != ttl {
			t.Errorf("%v, %v", got, err)
		}
		logins, err := r.Logins(ctx)
		if err != nil || logins.Methods[0].SessionTTL != ttl {
			t.Errorf("sessions live %s, %v", logins.Methods[0].SessionTTL, err)
		}
	}
}
