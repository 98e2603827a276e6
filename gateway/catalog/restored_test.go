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
	old := &session.Claims{ID: "old", AccessID: admin.AccessID, Subject: "s", IssuedAt: now.Unix(), Expiry: now.Add(time.Hour).Unix()}
	if _, err := c.Live(old, now); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := options.Store.Commit(t.Context(), MarkRestored()); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"the first start", "the second start"} {
		c, stop = start(t, options)
		if _, err := c.Live(old, now); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("after %s: %v", what, err)
		}
		fresh := *old
		fresh.IssuedAt = c.View().IssueTime(admin.AccessID, "s", time.Now()).Unix()
		if _, err := c.Live(&fresh, time.Now()); err != nil {
			t.Errorf("a session that is issued after %s: %v", what, err)
		}
		if c.View().revokedBefore > now.Add(time.Minute).Unix() {
			t.Error("sessions of the future are revoked")
		}
		stop()
	}
}
