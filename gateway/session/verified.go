package session

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxYoung bounds the tokens that are remembered, in bytes of their text: what is
// remembered of one takes about as much. A session has a kilobyte.
const maxYoung = 2 << 20

// verified remembers which tokens bore a good signature. To look at a
// signature takes more time than all the rest of a short request, and sessions
// are there to be used often. It holds hashes and claims but no tokens, and nothing
// that was refused.
//
// That a signature was good is all that it says: whether the session is valid now is
// for Keyring.check to find each time. It ends with its keyring, which is made anew
// when a key changes. It is safe for concurrent use.
type verified struct {
	mu sync.Mutex
	// young takes what is new. When it is full it becomes old, and what was old is
	// forgotten; what is used moves to young. So memory is bounded, and what is in
	// use stays, without a list to keep in order.
	young, old map[digest]*signedClaims
	size       int // of young
}

type digest = [sha256.Size]byte

// signedClaims are those of a token whose signature was good. They never change.
type signedClaims struct {
	claims Claims
	until  time.Time // the end of its key
	size   int
}

func newVerified() *verified { return &verified{young: map[digest]*signedClaims{}} }

func (v *verified) get(token digest) (*signedClaims, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if found, ok := v.young[token]; ok {
		return found, true
	}
	found, ok := v.old[token]
	if ok {
		v.add(token, found)
	}
	return found, ok
}

func (v *verified) put(token digest, s *signedClaims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.young[token]; !ok {
		v.add(token, s)
	}
}

// add puts what is not there into young. v.mu is held.
func (v *verified) add(token digest, s *signedClaims) {
	if v.size+s.size > maxYoung {
		v.young, v.old, v.size = map[digest]*signedClaims{}, v.young, 0
	}
	v.young[token] = s
	v.size += s.size
}
