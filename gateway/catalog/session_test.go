package catalog

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/gateway/config"
	"github.com/gatepass/gatepass/gateway/session"
)

// issued makes the claims of a session, as the gateway would now.
func (r *rig) issued(accessID, subject, id string) *session.Claims {
	now := time.Now()
	return &session.Claims{
		ID: id, AccessID: accessID, Subject: subject, IssuedAt: now.Unix(), Expiry: now.Add(time.Hour).Unix(),
		Generation: r.View().Generation(accessID, subject),
	}
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

// passes has the store's clock go on.
func (r *rig) passes(d time.Duration) {
	r.t.Helper()
	for range int(d / tickInterval) {
		before := r.View()
		r.must(r.addTick(r.t.Context(), before))
		until(r.t, "the tick to be seen", func() bool { return r.View().ticksRevision != before.ticksRevision })
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
		name          string
		passes        time.Duration // on the store's clock
		after         time.Duration // on the gateway's
		removed, left int
	}{
		{"at once", 0, 0, 0, 302},
		{"by a clock that is a week ahead", 0, 7 * 24 * time.Hour, 0, 302},
		{"after a tick, which says of no time that it has passed", tickInterval, 7 * 24 * time.Hour, 0, 302},
		{"by a clock that is behind", tickInterval, 0, 0, 302},
		{"when sessions have ended by both clocks", 0, 3 * time.Minute, 300, 2},
		{"when others may live", 24 * time.Hour, 24 * time.Hour, 0, 2},
		{"when none may live", 2 * time.Hour, 26 * time.Hour, 2, 0},
	} {
		r.passes(tt.passes)
		removed, err := r.removeExpired(ctx, now.Add(tt.after))
		if err != nil || removed != tt.removed {
			t.Errorf("%s: %d removed, %v", tt.name, removed, err)
		}
		until(t, "the view to follow", func() bool {
			v := r.View()
			return v.revokedSessions.len()+v.revokedIdentities.len()+v.revokedMethods.len()+v.leases.len() == tt.left
		})
	}
	if n := len(r.View().ticks); n > maxTicks {
		t.Errorf("%d ticks are kept", n)
	}
}

// TestTheStoresClockIsNeverFast: however many gateways there are, and however often
// they look.
func TestTheStoresClockIsNeverFast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options := Options{Store: openStore(t, t.TempDir()), Seal: newSealer(t), Audit: &ledger{}}
		var catalogs []*Catalog
		for range 3 {
			c, stop := start(t, options)
			t.Cleanup(stop)
			catalogs = append(catalogs, c)
		}
		began := time.Now()
		for time.Since(began) < 5*time.Hour {
			time.Sleep(7 * time.Minute)
			synctest.Wait()
			var v *View
			for _, c := range catalogs {
				v = c.View()
			}
			if age := v.age(1); age > time.Since(began) {
				t.Fatalf("after %s the store's clock says %s", time.Since(began), age)
			}
		}
		if age := catalogs[0].View().age(1); age < 4*time.Hour {
			t.Errorf("after 5 hours the store's clock says %s", age)
		}
	})
}

// TestRevocationsOfOneMethodDelayNoOther: neither those of one identity after the
// other, nor those of the whole method.
func TestRevocationsOfOneMethodDelayNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	m, other := r.k8s("m"), r.k8s("other")
	bystander := r.issued(other, "b", "bystander")
	for n := range 300 {
		r.must(r.admin.RevokeIdentity(ctx, "m", "a"+strconv.Itoa(n%3)))
	}
	r.must(r.admin.RevokeMethod(ctx, "m"))
	r.must(r.admin.RevokeIdentity(ctx, "m", "a0"))
	for _, s := range []*session.Claims{bystander, r.issued(other, "b", "1"), r.issued(m, "a0", "2"), r.issued(m, "b", "3")} {
		if _, err := r.Live(s, time.Now()); err != nil || s.IssuedAt > time.Now().Unix() {
			t.Errorf("session %s: %v", s.ID, err)
		}
	}
}

// TestRevocationGoesByNoClock: of gateways that share a store, whatever their clocks
// say.
func TestRevocationGoesByNoClock(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.k8s("m")
	for _, ahead := range []time.Duration{0, 3 * time.Hour, -3 * time.Hour} {
		before := r.issued(m, "a", "before")
		before.IssuedAt += int64(ahead / time.Second)
		r.must(r.admin.RevokeMethod(t.Context(), "m"))
		if _, err := r.Live(before, time.Now()); !errors.Is(err, session.ErrOtherGeneration) {
			t.Errorf("a session of a gateway whose clock is %s ahead, when it was revoked: %v", ahead, err)
		}
		after := r.issued(m, "a", "after")
		after.IssuedAt += int64(ahead / time.Second)
		if _, err := r.Live(after, time.Now()); err != nil {
			t.Errorf("one that such a gateway makes afterwards: %v", err)
		}
	}
	// Those of gateways with a store of their own go by the clock.
	elsewhere := r.issued(m, "a", "elsewhere")
	elsewhere.Generation = "another.."
	if _, err := r.Live(elsewhere, time.Now()); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("another store's session, when it was revoked here: %v", err)
	}
	elsewhere.IssuedAt += int64(2 * skew / time.Second)
	if _, err := r.Live(elsewhere, time.Now()); err != nil {
		t.Errorf("another store's session of later: %v", err)
	}
}

// TestASessionIsRevokedWithItsAuthMethod: an id says which session is meant only
// together with its auth method.
func TestASessionIsRevokedWithItsAuthMethod(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, other := r.issued(r.k8s("m"), "a", "same"), r.issued(r.k8s("other"), "a", "same")
	one.Lease, other.Lease = time.Now().Add(time.Minute).Unix(), time.Now().Add(time.Minute).Unix()
	later := time.Now().Add(2 * time.Minute)
	r.must(r.As(CallerOf(one, "", "vault")).RenewSession(t.Context(), later.Add(time.Minute), one.ExpiresAt()))
	if _, err := r.Live(one, later); err != nil {
		t.Errorf("a renewed session: %v", err)
	}
	if _, err := r.Live(other, later); !errors.Is(err, session.ErrExpired) {
		t.Errorf("one of the same id, which was not renewed: %v", err)
	}
	r.must(r.As(CallerOf(one, "", "v2")).RevokeSession(t.Context(), one.ExpiresAt()))
	if _, err := r.Live(one, time.Now()); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("a revoked session: %v", err)
	}
	if _, err := r.Live(other, time.Now()); err != nil {
		t.Errorf("one of the same id: %v", err)
	}
}

// TestSessionsOfADeletedMethodEnd: at once, whatever else fails meanwhile.
func TestSessionsOfADeletedMethodEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.issued(r.k8s("m"), "a", "1")
	if _, err := r.Live(s, time.Now()); err != nil {
		t.Fatal(err)
	}
	r.must(r.admin.DeleteMethod(t.Context(), "m"))
	if _, err := r.Live(s, time.Now()); !errors.Is(err, session.ErrUnknown) {
		t.Error(err)
	}
}

// TestAMethodThatIsDeclaredAgainHasNoSessions: not those of before it left the
// configuration file.
func TestAMethodThatIsDeclaredAgainHasNoSessions(t *testing.T) {
	t.Parallel()
	const accessID = "p-abcdefghij12km"
	with := &config.Config{AuthMethods: []config.AuthMethod{{Name: "m", AccessID: accessID, SessionTTL: time.Hour}}}
	without := &config.Config{}
	options := Options{Store: openStore(t, t.TempDir()), Seal: newSealer(t), Audit: &ledger{}}
	c, stop := start(t, options)
	noted := func() bool { return c.View().declaredMethods.has(accessID) }
	issue := func(id string) *session.Claims {
		now := time.Now()
		return &session.Claims{
			ID: id, AccessID: accessID, Subject: "s", IssuedAt: now.Unix(), Expiry: now.Add(time.Hour).Unix(),
			Generation: c.View().Generation(accessID, "s"),
		}
	}
	live := func(what string, s *session.Claims, want error) {
		t.Helper()
		if _, err := c.Live(s, time.Now()); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	c.SetFile(with)
	until(t, "the method to be noted", noted)
	first := issue("1")
	c.SetFile(with)
	live("when the file is read again", first, nil)
	c.SetFile(without)
	live("when the method has left the file", first, session.ErrUnknown)
	c.SetFile(with)
	until(t, "the sessions to be revoked", func() bool { return c.View().revokedMethods.has(accessID) })
	live("when it is declared again", first, session.ErrRevoked)
	second := issue("2")
	live("a session of the method that is declared again", second, nil)

	until(t, "the method to be noted again", noted)
	stop()
	c, stop = start(t, options)
	c.SetFile(with)
	live("after a restart", second, nil)
	stop()
	c, stop = start(t, options)
	c.SetFile(without)
	until(t, "the method to be noticed that left the file while no gateway ran", func() bool { return !noted() })
	stop()
	c, _ = start(t, options)
	c.SetFile(with)
	live("a session of before that", second, session.ErrRevoked)
	live("a new one", issue("3"), nil)
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
