package keys

import (
	"crypto"
	"crypto/ecdsa"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

func TestStored(t *testing.T) {
	t.Parallel()
	database, err := bolt.Open(bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = database.Close() })
	name := filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.CreateFile(name); err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(seal.Options{File: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	kept := NewStored(seal.Guard(database), sealer)
	ids := []string{"p-aaaaaaaa", "p-bbbbbbbb"}

	// Gateways that start at the same time agree.
	found := make([]map[string]crypto.Signer, 8)
	var starts sync.WaitGroup
	for i := range found {
		starts.Go(func() {
			keys, err := kept.Keys(t.Context(), ids, nil)
			if err != nil {
				t.Error(err)
			}
			found[i] = keys
		})
	}
	starts.Wait()
	same := func(a, b crypto.Signer) bool {
		left, ok := a.(*ecdsa.PrivateKey)
		return ok && left.Equal(b)
	}
	for _, keys := range found {
		for _, id := range ids {
			if !same(keys[id], found[0][id]) {
				t.Fatalf("two keys for %s", id)
			}
		}
	}
	if same(found[0][ids[0]], found[0][ids[1]]) {
		t.Error("one key for two access ids")
	}

	// A store that lost a key gets it back.
	if _, err := database.Commit(t.Context(), store.Delete(storedPrefix+ids[0], store.Any)); err != nil {
		t.Fatal(err)
	}
	again, err := kept.Keys(t.Context(), ids, found[0])
	if err != nil || !same(again[ids[0]], found[0][ids[0]]) {
		t.Errorf("a lost key did not come back: %v", err)
	}

	// What is no key is no reason to make another.
	sealed, err := sealer.Seal(storedPrefix+ids[0], []byte("not a key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := database.Commit(t.Context(), store.Put(storedPrefix+ids[0], sealed)); err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Keys(t.Context(), ids, nil); err == nil || !strings.Contains(err.Error(), ids[0]) {
		t.Errorf("error %v", err)
	}
}
