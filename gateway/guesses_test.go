package gateway

import (
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func TestGuesses(t *testing.T) {
	t.Parallel()
	const interval = 6 * time.Second
	now := time.Unix(1e9, 0)
	client, neighbour := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	fail := func(t *testing.T, g *guesses, client netip.Addr, id string, times int) {
		t.Helper()
		for n := range times {
			if v := g.failed(client, id, now); v.wait != 0 {
				t.Errorf("failure %d waits %s", n+1, v.wait)
			}
		}
	}
	waits := func(t *testing.T, v verdict) {
		t.Helper()
		if v.wait <= interval-time.Millisecond || v.wait > interval+time.Millisecond {
			t.Errorf("waits %s", v.wait)
		}
	}
	t.Run("a client may fail ten times on an access id", func(t *testing.T) {
		t.Parallel()
		g := newGuesses()
		fail(t, g, client, "a", 10)
		waits(t, g.failed(client, "a", now))
		if v := g.failed(client, "a", now.Add(interval+time.Millisecond)); v.wait != 0 {
			t.Errorf("waits %s when one is forgiven", v.wait)
		}
		fail(t, g, client, "b", 10)
		fail(t, g, neighbour, "a", 10)
	})
	t.Run("a client may fail fifty times in all", func(t *testing.T) {
		t.Parallel()
		g := newGuesses()
		for i := range 10 {
			fail(t, g, client, strconv.Itoa(i), 5)
		}
		waits(t, g.failed(client, "new", now))
		fail(t, g, neighbour, "new", 1)
	})
	t.Run("a network of IPv6 is one client", func(t *testing.T) {
		t.Parallel()
		g := newGuesses()
		fail(t, g, netip.MustParseAddr("2001:db8::1"), "a", 10)
		waits(t, g.failed(netip.MustParseAddr("2001:db8::ffff"), "a", now))
		fail(t, g, netip.MustParseAddr("2001:db8:0:1::1"), "a", 1)
	})
	t.Run("failures beyond that are recorded once a second", func(t *testing.T) {
		t.Parallel()
		g := newGuesses()
		fail(t, g, client, "a", 10)
		for n := range 3 {
			if v := g.failed(client, "a", now); v.record != (n == 0) {
				t.Errorf("failure %d is recorded: %t", n, v.record)
			}
		}
		if v := g.failed(client, "a", now.Add(time.Second)); !v.record || v.untold != 2 {
			t.Errorf("a second later: %+v", v)
		}
	})
}
