package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/session"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// newStored makes rings that share a store.
func newStored(t *testing.T, rotations ...time.Duration) (store.Store, *seal.Sealer, []*Ring) {
	t.Helper()
	database, err := bolt.Open(bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := database.Close(); err != nil {
			t.Error(err)
		}
	})
	name := filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.CreateFile(name); err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(seal.Options{File: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	guarded := seal.Guard(database)
	rings := make([]*Ring, 0, len(rotations))
	for _, each := range rotations {
		rings = append(rings, NewStored(guarded, sealer, each))
	}
	return guarded, sealer, rings
}

func keysOf(t *testing.T, source Source, known ...Key) []Key {
	t.Helper()
	found, err := source.Keys(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestGatewaysThatStartTogetherAgreeOnAKey(t *testing.T) {
	t.Parallel()
	_, _, rings := newStored(t, make([]time.Duration, 8)...)
	found := make([][]Key, len(rings))
	var starts sync.WaitGroup
	for i, ring := range rings {
		starts.Go(func() {
			keys, err := ring.Keys(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			found[i] = keys
		})
	}
	starts.Wait()
	for _, keys := range found {
		if len(keys) != 1 || !Same(keys, found[0]) || keys[0].From.After(time.Now()) || !keys[0].Until.IsZero() {
			t.Errorf("%+v and %+v", keys, found[0])
		}
	}
}

func TestWhatAStoreLostComesBack(t *testing.T) {
	t.Parallel()
	database, sealer, rings := newStored(t, 0)
	had := keysOf(t, rings[0])
	if _, err := database.Commit(t.Context(), store.Delete(storedKey, store.Any)); err != nil {
		t.Fatal(err)
	}
	if has := keysOf(t, rings[0], had...); !Same(has, had) {
		t.Error("a lost key did not come back")
	}
	// What can't be read is no reason to make another.
	for _, broken := range []string{"not a key", "{}", `{"keys":[{"from":"2026-01-01T00:00:00Z","key":"x"}]}`} {
		sealed, err := sealer.Seal(storedKey, []byte(broken))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := database.Commit(t.Context(), store.Put(storedKey, sealed)); err != nil {
			t.Fatal(err)
		}
		if keys, err := rings[0].Keys(t.Context(), had); err == nil || !strings.Contains(err.Error(), "the store") {
			t.Errorf("%s: %v, %v", broken, keys, err)
		}
	}
}

// TestKeysRotateWithOverlap: whoever keeps the published keys as long as they may
// knows a key before it signs, and one that signed is published until its last session
// has ended, by whichever gateway's clock.
func TestKeysRotateWithOverlap(t *testing.T) {
	t.Parallel()
	if Ahead <= session.KeysMaxAge+time.Minute {
		t.Fatalf("a key is published %s before it signs, and others may keep the keys for %s", Ahead, session.KeysMaxAge)
	}
	synctest.Test(t, func(t *testing.T) {
		const rotation = 48 * time.Hour
		_, _, rings := newStored(t, rotation, rotation)
		first := keysOf(t, rings[0])
		began := time.Now()
		at := func(after time.Duration) []Key {
			t.Helper()
			time.Sleep(after - time.Since(began))
			found := keysOf(t, rings[0])
			if !Same(found, keysOf(t, rings[1])) {
				t.Fatalf("after %s two gateways have two sets of keys", after)
			}
			return found
		}
		if keys := at(rotation - Ahead - time.Second); !Same(keys, first) {
			t.Errorf("%d keys before it is time", len(keys))
		}
		turn := began.Add(rotation)
		keys := at(rotation - Ahead)
		if len(keys) != 2 || keys[1].From.Before(turn) || !keys[0].Until.Equal(keys[1].From.Add(session.MaxLife+margin)) {
			t.Fatalf("%+v", keys)
		}
		if keys := at(rotation + session.MaxLife); len(keys) != 2 {
			t.Errorf("%d keys while a session of the first may live", len(keys))
		}
		if keys := at(rotation + session.MaxLife + 2*margin); len(keys) != 1 || keys[0].From.Before(turn) {
			t.Errorf("%d keys after that", len(keys))
		}
		for range 40 { // and so on, without end
			at(time.Since(began) + rotation)
		}
		text, _, err := rings[0].place.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := decode(text); err != nil || len(kept) > spared+2 {
			t.Errorf("%d keys are kept, %v", len(kept), err)
		}
	})
}

func TestRotateByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, _, rings := newStored(t, 0, 0)
		ring, other := rings[0], rings[1]
		for name, do := range map[string]func() error{
			"rotating":  func() error { _, err := ring.Rotate(t.Context()); return err },
			"replacing": func() error { return ring.Replace(t.Context()) },
		} {
			if err := do(); !errors.Is(err, errNone) {
				t.Errorf("%s where no gateway has made a key: %v", name, err)
			}
		}
		first := keysOf(t, ring)
		from, err := ring.Rotate(t.Context())
		if err != nil || time.Until(from) > Ahead || time.Until(from) < Ahead-time.Second {
			t.Fatalf("from %s on, %v", from, err)
		}
		if again, err := other.Rotate(t.Context()); err != nil || !again.Equal(from) {
			t.Errorf("a second rotation before the first is over: from %s on, %v", again, err)
		}
		if keys := keysOf(t, other); len(keys) != 2 || !keys[1].From.Equal(from) {
			t.Errorf("%+v", keys)
		}
		time.Sleep(Ahead + time.Second)
		if _, err := other.Rotate(t.Context()); err != nil {
			t.Error(err)
		}
		if keys := keysOf(t, ring); len(keys) != 3 {
			t.Errorf("%d keys", len(keys))
		}
		if err := ring.Replace(t.Context()); err != nil {
			t.Fatal(err)
		}
		keys := keysOf(t, other, first...)
		if len(keys) != 1 || keys[0].From.After(time.Now()) || Same(keys, first) {
			t.Errorf("after all keys were replaced: %+v", keys)
		}
	})
}

// TestAClockThatIsAheadTakesNoKeyFromOthers: the gateway that replaces a key believes
// it to be days later.
func TestAClockThatIsAheadTakesNoKeyFromOthers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	var keys []Key
	for i := range 3 {
		keys = append(keys, Key{From: now.Add(time.Duration(i-3) * time.Hour)})
	}
	for _, ahead := range []time.Duration{0, 2 * time.Hour, 10 * 24 * time.Hour} {
		if kept := living(keys, now.Add(ahead)); len(kept) != len(keys) {
			t.Errorf("with a clock that is %s ahead %d of %d keys are kept", ahead, len(kept), len(keys))
		}
	}
}

func TestKeysOfAFile(t *testing.T) {
	t.Parallel()
	var texts []string
	var privates []*ecdsa.PrivateKey
	for range 3 {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		text, err := Encode(private)
		if err != nil {
			t.Fatal(err)
		}
		privates, texts = append(privates, private), append(texts, string(text))
	}
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := Encode(weak)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "keys.pem")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# a comment\n" + strings.Join(texts, "\n"))
	keys := keysOf(t, File(name))
	if len(keys) != 3 {
		t.Fatalf("%d keys", len(keys))
	}
	for i, key := range keys {
		if !privates[2-i].Equal(key.Private) || !key.Until.IsZero() || i > 0 && !keys[i-1].From.Before(key.From) {
			t.Errorf("key %d is %+v; the file's first key must be the one that signs", i, key)
		}
	}
	for what, content := range map[string]string{
		"nothing": "", "a key of another curve": texts[0] + string(wrong), "a broken key": texts[0] + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		write(content)
		keys, err := File(name).Keys(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %d keys, %v", what, len(keys), err)
		}
	}
}
