package gateway

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of failed logins by access key. A key has far too many bits to be
// guessed; the bounds keep those who try from filling the audit log, and hold
// for keys of people's own choice, should there ever be some.
const (
	// guessInterval is after how long a failure is forgiven.
	guessInterval = 6 * time.Second
	// maxGuesses is how many failures a client may have on one access id, and
	// maxClientGuesses on all of them together.
	maxGuesses       = 10
	maxClientGuesses = 50
	// maxGuessers bounds what is remembered; beyond it somebody is forgotten.
	maxGuessers = 4096
)

// guesses counts failed logins by access key: of a client on an access id, so
// that one who fails keeps nobody else of the same address out, and of a client
// on all of them. Nobody can lock an access id for others.
type guesses struct {
	mu sync.Mutex
	// forgiven is when all failures of a guesser are forgiven.
	forgiven map[guesser]time.Time
}

// guesser is a client, on one access id or, if it is empty, on all.
type guesser struct {
	client   netip.Prefix
	accessID string
}

func (g guesser) allowance() time.Duration {
	if g.accessID == "" {
		return maxClientGuesses * guessInterval
	}
	return maxGuesses * guessInterval
}

func guessersOf(client netip.Addr, accessID string) [2]guesser {
	network := networkOf(client)
	return [2]guesser{{network, shorten(accessID)}, {client: network}}
}

// wait is for how long a client may not try; 0 lets it.
func (g *guesses) wait(client netip.Addr, accessID string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	var longest time.Duration
	for _, who := range guessersOf(client, accessID) {
		until := g.forgiven[who]
		if until.Before(now) {
			until = now // the zero time is further away than a Duration can say
		}
		// One more failure must fit.
		longest = max(longest, until.Sub(now)-who.allowance()+guessInterval)
	}
	return longest
}

// failed counts a failure.
func (g *guesses) failed(client netip.Addr, accessID string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, who := range guessersOf(client, accessID) {
		until := g.forgiven[who]
		if until.Before(now) {
			until = now
			g.makeRoom(now)
		}
		g.forgiven[who] = until.Add(guessInterval)
	}
}

// makeRoom forgets those who are forgiven, and if that is not enough, somebody.
func (g *guesses) makeRoom(now time.Time) {
	if len(g.forgiven) < maxGuessers {
		return
	}
	for who, until := range g.forgiven {
		if !until.After(now) {
			delete(g.forgiven, who)
		}
	}
	for who := range g.forgiven {
		if len(g.forgiven) < maxGuessers {
			return
		}
		delete(g.forgiven, who)
	}
}
