package catalog

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/access"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// forgeries are what somebody writes who has the store but not its keys.
func forgeries(t *testing.T, s store.Store, administrator string) map[string]store.Op {
	t.Helper()
	hash := sha256.Sum256([]byte("theirs"))
	own, err := encode(methodRecord{AccessID: administrator, Type: TypeAccessKey, AccessKeyHash: hash[:], Created: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	theirs := newSealer(t)
	foreign, err := theirs.Seal(methodPrefix+administratorMethod, own)
	if err != nil {
		t.Fatal(err)
	}
	copied := func(key string) []byte {
		item, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return item.Value
	}
	return map[string]store.Op{
		"an administrator in clear text":    store.Put(methodPrefix+administratorMethod, own),
		"one that other keys seal":          store.Put(methodPrefix+administratorMethod, foreign),
		"a role in the place of another":    store.Put(rolePrefix+"reader", copied(rolePrefix+"writer")),
		"an item under another's name":      store.Put(itemPrefix+"public", copied(itemPrefix+"private")),
		"a new role that is a copy":         store.Put(rolePrefix+"third", copied(rolePrefix+"writer")),
		"an association that was made up":   store.Put(associationPrefix+"ass-x", []byte(`{"role":"r","access_id":"p-1"}`)),
		"an item that is nothing":           store.Put(itemPrefix+"public", nil),
		"a session's renewal for ever":      store.Put(leasePrefix+"session", []byte(`{"until":9999999999,"expires":9999999999}`)),
		"settings with sessions for ever":   store.Put(settingsKey, []byte(`{"session_ttl":9999999999}`)),
		"another revocation of one session": store.Put(revokedSessionPrefix+"session", []byte(`{"expires":1}`)),
	}
}

// forgeable is a store with objects, as it is on the disk.
func forgeable(t *testing.T) (dir string, raw store.Store, sealer *seal.Sealer, c *Catalog, stop func(), root Caller) {
	t.Helper()
	dir, sealer = t.TempDir(), newSealer(t)
	raw, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := raw.Close(); err != nil {
			t.Error(err)
		}
	})
	c, stop = start(t, Options{Store: seal.Guard(raw), Seal: sealer, Audit: &ledger{}})
	made, err := c.Bootstrap(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	root = Caller{AccessID: made.AccessID, Session: "root"}
	as := c.As(root)
	for _, name := range []string{"reader", "writer"} {
		if err := as.CreateRole(t.Context(), Role{Name: name, Rules: []access.Rule{rule(access.ItemRule, "/"+name+"/*", access.Read)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"public", "private"} {
		if err := as.CreateItem(t.Context(), Item{Name: name, Description: "a telling description"}, []byte("value of "+name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, raw, sealer, c, stop, root
}

func TestForgedRecordsAreNotTaken(t *testing.T) {
	t.Parallel()
	_, raw, _, c, stop, root := forgeable(t)
	before := counts(c.View())
	for name, forged := range forgeries(t, raw, root.AccessID) {
		t.Run(name+" does not get into the view", func(t *testing.T) {
			kept, err := raw.Get(t.Context(), forged.Key)
			existed := err == nil
			if _, err := raw.Commit(t.Context(), forged); err != nil {
				t.Fatal(err)
			}
			until(t, "the gateway not to be ready", func() bool { return c.Intact() != nil })
			if got := gauges(t, c)["gatepass_gateway_unopened_records"]; got != 1 {
				t.Errorf("the metric counts %v records that do not open", got)
			}
			if err := c.Intact(); !strings.Contains(err.Error(), forged.Key) {
				t.Errorf("%q does not name the record", err)
			}
			if got := counts(c.View()); got != before || c.View().VerifyAccessKey(root.AccessID, "theirs") || c.View().Settings().SessionTTL > time.Hour {
				t.Errorf("the view has %v instead of %v", got, before)
			}
			value, _, err := c.As(root).Value(t.Context(), "public", 0)
			if err != nil || string(value) != "value of public" {
				t.Errorf("%q, %v", value, err)
			}
			// What is read the first time must be whole.
			other, err := New(Options{Store: raw, Seal: c.options.Seal, Audit: &ledger{}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := other.Run(t.Context()); err == nil || !strings.Contains(err.Error(), forged.Key) || other.Ready() == nil {
				t.Errorf("a gateway starts: %v", err)
			}
			undo := store.Delete(forged.Key, store.Any)
			if existed {
				undo = store.Put(forged.Key, kept.Value)
			}
			if _, err := raw.Commit(t.Context(), undo); err != nil {
				t.Fatal(err)
			}
			until(t, "the record to be as it was", func() bool { return c.Intact() == nil })
		})
	}
	stop()
}

func TestNothingButKeysIsReadableInTheStore(t *testing.T) {
	t.Parallel()
	dir, _, _, _, _, _ := forgeable(t)
	content, err := os.ReadFile(filepath.Join(dir, bolt.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a telling description", `"access_key_hash"`, `"capabilities"`} {
		if bytes.Contains(content, []byte(text)) {
			t.Errorf("%s is in the database", text)
		}
	}
}

// A gateway that gets the key file later than others waits for it.
func TestRecordsOfAKeyThatComesLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	late, early := filepath.Join(dir, "late"), filepath.Join(dir, "early")
	if _, err := seal.CreateFile(late); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(late)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(early, content, 0o600); err != nil {
		t.Fatal(err)
	}
	database := openStore(t, t.TempDir())
	behind := openSealer(t, late)
	a, _ := start(t, Options{Store: database, Seal: behind, Audit: &ledger{}})
	made, err := a.Bootstrap(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.AddKey(early, time.Now()); err != nil {
		t.Fatal(err)
	}
	b, _ := start(t, Options{Store: database, Seal: openSealer(t, early), Audit: &ledger{}})
	if err := b.As(Caller{AccessID: made.AccessID, Session: "root"}).CreateRole(t.Context(), Role{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	until(t, "the gateway without the key not to be ready", func() bool { return a.Intact() != nil })
	if content, err = os.ReadFile(early); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(late, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := behind.Refresh(); err != nil {
		t.Fatal(err)
	}
	until(t, "the record to open", func() bool { return a.Intact() == nil })
	if a.View().role("late") == nil {
		t.Error("the role is missing")
	}
}
