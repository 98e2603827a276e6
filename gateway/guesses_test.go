package gateway

import (
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func TestGuesses(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	client, neighbour := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	fail := func(g *guesses, client netip.Addr, id string, times int) {
		for range times {
			g.failed(client, id, now)
		}
	}
	fresh := func() *guesses { return &guesses{forgiven: map[guesser]time.Time{}} }

	t.Run("a client may fail ten times on an access id", func(t *testing.T) {
		t.Parallel()
		g := fresh()
		fail(g, client, "a", 9)
		if wait := g.wait(client, "a", now); wait != 0 {
			t.Errorf("waits %s after nine", wait)
		}
		fail(g, client, "a", 1)
		if wait := g.wait(client, "a", now); wait != guessInterval {
			t.Errorf("waits %s after ten", wait)
		}
		if wait := g.wait(client, "a", now.Add(guessInterval)); wait != 0 {
			t.Errorf("waits %s when one is forgiven", wait)
		}
		if g.wait(client, "b", now) != 0 || g.wait(neighbour, "a", now) != 0 {
			t.Error("somebody else waits, too")
		}
	})
	t.Run("a client may fail fifty times in all", func(t *testing.T) {
		t.Parallel()
		g := fresh()
		for i := range 10 {
			fail(g, client, strconv.Itoa(i), 5)
		}
		if g.wait(client, "new", now) != guessInterval || g.wait(neighbour, "new", now) != 0 {
			t.Errorf("the client waits %s, and another %s", g.wait(client, "new", now), g.wait(neighbour, "new", now))
		}
	})
	t.Run("a network of IPv6 is one client", func(t *testing.T) {
		t.Parallel()
		g := fresh()
		fail(g, netip.MustParseAddr("2001:db8::1"), "a", 10)
		if g.wait(netip.MustParseAddr("2001:db8::ffff"), "a", now) == 0 || g.wait(netip.MustParseAddr("2001:db8:0:1::1"), "a", now) != 0 {
			t.Error("the networks are not told apart")
		}
	})
	t.Run("failures of long ago don't count", func(t *testing.T) {
		t.Parallel()
		g := fresh()
		fail(g, client, "a", 10)
		later := now.Add(time.Hour)
		g.failed(client, "a", later)
		if wait := g.wait(client, "a", later); wait != 0 {
			t.Errorf("waits %s", wait)
		}
	})
	t.Run("what is remembered is bounded", func(t *testing.T) {
		t.Parallel()
		g := fresh()
		address := netip.MustParseAddr("10.0.0.0")
		for i := range 2 * maxGuessers {
			address = address.Next()
			g.failed(address, strconv.Itoa(i), now)
		}
		if len(g.forgiven) > maxGuessers {
			t.Errorf("%d are remembered", len(g.forgiven))
		}
		g.failed(client, "a", now.Add(time.Hour))
		if len(g.forgiven) != 2 {
			t.Errorf("%d are remembered when all others are forgiven", len(g.forgiven))
		}
	})
}
