package gateway

import (
	"net/netip"
	"time"

	"github.com/gatepass/gatepass/internal/connlimit"
)

// Bounds of failed logins by access key. A key has far too many bits to be
// guessed; the bounds keep those who try from filling the audit log. Who has the
// right key is let in whatever others of the same address do.
const (
	// guessesPerSecond is how fast failures are forgiven.
	guessesPerSecond = 1. / 6
	// maxGuesses is how many failures a client may have on one access id, and
	// maxClientGuesses on all of them together.
	maxGuesses       = 10
	maxClientGuesses = 50
)

// guesses counts failed logins by access key: of a client on an access id, and of a
// client on all of them.
type guesses struct {
	onOne *rates[guesser]
	onAll *rates[netip.Prefix]
}

// guesser is a client on one access id.
type guesser struct {
	client   netip.Prefix
	accessID string
}

func newGuesses() *guesses {
	return &guesses{
		onOne: newRates[guesser](Rate{PerSecond: guessesPerSecond, Burst: maxGuesses}),
		onAll: newRates[netip.Prefix](Rate{PerSecond: guessesPerSecond, Burst: maxClientGuesses}),
	}
}

// failed counts a failure, and says whether it was one too many.
func (g *guesses) failed(client netip.Addr, accessID string, now time.Time) verdict {
	network := connlimit.Network(client)
	if v := g.onOne.take(guesser{network, shorten(accessID)}, now); v.wait > 0 {
		return v
	}
	return g.onAll.take(network, now)
}
