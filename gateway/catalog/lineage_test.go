package catalog

import (
	"errors"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/session"
)

func TestARestoreEndsSessions(t *testing.T) {
	t.Parallel()
	options := Options{Store: openStore(t, t.TempDir()), Seal: newSealer(t), Audit: &ledger{}}
	c, stop := start(t, options)
	admin, err := c.Bootstrap(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	old := &session.Claims{
		ID: "old", AccessID: admin.AccessID, Subject: "s", IssuedAt: now.Unix(), Expiry: now.Add(time.Hour).Unix(),
		Generation: c.View().Generation(admin.AccessID, "s"),
	}
	// Made by a gateway whose clock is ahead of that of the one that starts.
	ahead := *old
	ahead.IssuedAt += 3600
	// Made by a gateway with a store of its own.
	elsewhere := *old
	elsewhere.Generation = "another.."
	if _, err := c.Live(old, now); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := options.Store.Commit(t.Context(), MarkRestored()); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"the first start", "the second start"} {
		c, stop = start(t, options)
		for name, s := range map[string]*session.Claims{"a session": old, "one of a clock that was ahead": &ahead, "one of another store": &elsewhere} {
			if _, err := c.Live(s, now); !errors.Is(err, session.ErrRevoked) {
				t.Errorf("%s after %s: %v", name, what, err)
			}
		}
		fresh := *old
		fresh.IssuedAt, fresh.Generation = time.Now().Unix(), c.View().Generation(admin.AccessID, "s")
		if _, err := c.Live(&fresh, time.Now()); err != nil {
			t.Errorf("a session that is issued after %s: %v", what, err)
		}
		if c.View().revokedBefore > now.Add(time.Minute).Unix() {
			t.Error("sessions of the future are revoked")
		}
		stop()
	}
}
