package session

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// remembered is how many tokens a keyring remembers.
func remembered(r *Keyring) int { return len(r.verified.young) + len(r.verified.old) }

func TestATokenThatWasVerifiedBefore(t *testing.T) {
	t.Parallel()
	before, after := newKey(t, ecKey(t)), newKey(t, ecKey(t))
	ring := newRing(t, issuer, before)
	token := sign(t, ring, grant("p-a"))
	first, err := ring.Verify(token, now)
	if err != nil || remembered(ring) != 1 {
		t.Fatalf("%v, and %d tokens are remembered", err, remembered(ring))
	}
	t.Run("has the same claims", func(t *testing.T) {
		t.Parallel()
		again, err := ring.Verify(token, now)
		if err != nil || again == first || !cmp.Equal(again, first) {
			t.Errorf("%+v, %v; want %+v", again, err, first)
		}
	})
	t.Run("expires to the second", func(t *testing.T) {
		t.Parallel()
		end := first.ExpiresAt()
		if _, err := ring.Verify(token, end.Add(-time.Second)); err != nil {
			t.Errorf("a second before: %v", err)
		}
		if _, err := ring.Verify(token, end); !errors.Is(err, ErrExpired) {
			t.Errorf("at its end: %v", err)
		}
	})
	t.Run("is not there yet if the clock is put back", func(t *testing.T) {
		t.Parallel()
		if _, err := ring.Verify(token, now.Add(-time.Hour)); !errors.Is(err, ErrFuture) {
			t.Error(err)
		}
	})
	t.Run("ends when the time of its key is over", func(t *testing.T) {
		t.Parallel()
		ring, err := NewKeyring(issuer, Signing{Key: after, From: now}, Signing{Key: before, Until: now.Add(time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.Verify(token, now); err != nil {
			t.Fatal(err)
		}
		if _, err := ring.Verify(token, now.Add(time.Second)); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	})
	t.Run("is unknown to a keyring without its key", func(t *testing.T) {
		t.Parallel()
		if _, err := newRing(t, issuer, after).Verify(token, now); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	})
	t.Run("does not lend its signature to another", func(t *testing.T) {
		t.Parallel()
		parts := strings.Split(token, ".")
		other := strings.Split(sign(t, ring, grant("p-a")), ".")
		if _, err := ring.Verify(parts[0]+"."+other[1]+"."+parts[2], now); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	})
}

func TestWhatWasRefusedIsNotRemembered(t *testing.T) {
	t.Parallel()
	ring := newRing(t, issuer, newKey(t, ecKey(t)))
	stranger := newRing(t, issuer, newKey(t, ecKey(t)))
	for name, token := range map[string]string{
		"no token":                   "a.b.c",
		"another gateway's session":  sign(t, stranger, grant("p-a")),
		"a session that has expired": sign(t, ring, Grant{AccessID: "p-a", TTL: time.Minute, Now: now.Add(-time.Hour)}),
	} {
		if _, err := ring.Verify(token, now); err == nil || remembered(ring) != 0 {
			t.Errorf("%s: %v, and %d tokens are remembered", name, err, remembered(ring))
		}
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	t.Parallel()
	v := newVerified()
	used := digest{1}
	v.put(used, &signedClaims{size: 1000})
	for n := range 10 * maxYoung / 1000 {
		v.put(digest{2, byte(n), byte(n >> 8), byte(n >> 16)}, &signedClaims{size: 1000})
		if n%100 == 0 {
			if _, ok := v.get(used); !ok {
				t.Fatalf("what is in use was forgotten after %d others", n)
			}
		}
		if v.size > maxYoung || len(v.young)+len(v.old) > 2*maxYoung/1000 {
			t.Fatalf("%d tokens with %d bytes are remembered", len(v.young)+len(v.old), v.size)
		}
	}
	if _, ok := v.get(digest{2}); ok {
		t.Error("what nobody used is remembered for ever")
	}
}

func TestManyVerifyAtATime(t *testing.T) {
	t.Parallel()
	ring := newRing(t, issuer, newKey(t, ecKey(t)))
	var tokens []string
	for range 8 {
		tokens = append(tokens, sign(t, ring, grant("p-a")))
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for n := range 64 {
				claims, err := ring.Verify(tokens[n%len(tokens)], now)
				if err != nil || claims.AccessID != "p-a" {
					t.Errorf("%+v, %v", claims, err)
				}
			}
		})
	}
	group.Wait()
	if remembered(ring) != len(tokens) {
		t.Errorf("%d tokens are remembered", remembered(ring))
	}
}

// BenchmarkVerify is of sessions that are new to the keyring, and of one that is not.
func BenchmarkVerify(b *testing.B) {
	ring := newRing(b, issuer, newKey(b, ecKey(b)))
	token := sign(b, ring, grant("p-ec"))
	for _, again := range []bool{false, true} {
		b.Run(fmt.Sprintf("again=%t", again), func(b *testing.B) {
			for b.Loop() {
				if !again {
					ring.verified = newVerified()
				}
				if _, err := ring.Verify(token, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
