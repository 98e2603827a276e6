package durability_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store/bolt"
	"github.com/gatepass/gatepass/test/folder"
)

const (
	manyItems   = 100_000
	itemsOfTeam = 1000
	seedItem    = "seed-item"
	itemPrefix  = "sealed/catalog/item/"
	seedKey     = itemPrefix + seedItem
	// sizeOfRevision is how many bytes precede each record.
	sizeOfRevision = 8
)

func itemName(n int) string  { return fmt.Sprintf("team-%02d/secret-%06d", n/itemsOfTeam, n) }
func itemValue(n int) string { return fmt.Sprintf("value-%d-%0100d", n, n) }

// multiply copies the record of an item that the gateway made, and gives each a value
// of its own. Through the API it would take half a minute.
func multiply(t *testing.T, dir string) {
	t.Helper()
	sealer := must(seal.New(seal.Options{File: filepath.Join(dir, "seal.key"), Logger: slog.New(slog.DiscardHandler)}))(t)
	db := must(bbolt.Open(filepath.Join(dir, bolt.FileName), 0o600, &bbolt.Options{NoSync: true}))(t)
	var record []byte
	err := db.View(func(tx *bbolt.Tx) error {
		record = bytes.Clone(tx.Bucket([]byte("items")).Get([]byte(seedKey)))
		return nil
	})
	if err != nil || len(record) < sizeOfRevision {
		t.Fatalf("no item: %q, %v", record, err)
	}
	revision, text := record[:sizeOfRevision], must(sealer.Open(seedKey, record[sizeOfRevision:]))(t)
	_, rest, _ := bytes.Cut(text, []byte(`"id":"`))
	id, _, found := bytes.Cut(rest, []byte(`"`))
	if !found {
		t.Fatalf("no item: %q", text)
	}
	put := func(items *bbolt.Bucket, key string, value []byte) error {
		sealed, err := sealer.Seal(key, value)
		return errors.Join(err, items.Put([]byte(key), append(bytes.Clone(revision), sealed...)))
	}
	for first := 0; first < manyItems && err == nil; first += itemsOfTeam {
		err = db.Update(func(tx *bbolt.Tx) error { // a larger one takes long
			items := tx.Bucket([]byte("items"))
			var errs []error
			for n := first; n < first+itemsOfTeam; n++ {
				own := fmt.Sprintf("%0*d", len(id), n)
				errs = append(errs,
					put(items, itemPrefix+itemName(n), bytes.Replace(text, id, []byte(own), 1)),
					put(items, fmt.Sprintf("sealed/value/%s/1", own), []byte(itemValue(n))))
			}
			return errors.Join(errs...)
		})
	}
	if err := errors.Join(err, db.Sync(), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestStartWithManyItems(t *testing.T) {
	t.Parallel()
	const (
		reads = 50
		// limit is far above what a start takes, for busy machines; the benchmarks
		// measure it.
		limit = 20 * time.Second
	)
	f := folder.New(t, commands, t.TempDir())
	g := f.MustStart(t)
	login := g.Administrator(t)
	session := g.Want(t, "/auth", login...).Token
	g.Want(t, "/create-secret", "token", session, "name", "/"+seedItem, "value", "seed")
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	multiply(t, f.Dir)

	// The files are in memory at the second start, as after a restart of the pod.
	for range 2 {
		began := time.Now()
		g = f.MustStart(t)
		took := time.Since(began)
		t.Logf("ready after %s", took)
		if took > limit {
			t.Errorf("ready after %s", took)
		}
		for range reads {
			n := rand.IntN(manyItems) //nolint:gosec // any will do
			name := "/" + itemName(n)
			if a := g.Want(t, "/get-secret-value", "token", session, "names", []string{name}); a.Values[name] != itemValue(n) {
				t.Errorf("%s is %q", name, a.Values[name])
			}
		}
		team := rand.IntN(manyItems / itemsOfTeam) //nolint:gosec // any will do
		if found := countItems(t, g, session, fmt.Sprintf("/team-%02d", team)); found != itemsOfTeam {
			t.Errorf("team %d has %d items", team, found)
		}
		if err := g.Kill(); err != nil {
			t.Error(err)
		}
	}
	f.CheckDatabase(t)
}

// countItems reads a folder page by page.
func countItems(t *testing.T, g *folder.Gateway, session, path string) (found int) {
	t.Helper()
	for next := ""; ; {
		a := g.MustAsk(t, "/list-items", "token", session, "path", path, "auto-pagination", "disabled", "pagination-token", next)
		if a.Status != http.StatusOK {
			t.Fatalf("list: %d %s", a.Status, a.Error)
		}
		found += len(a.Items)
		if next = a.Next; next == "" {
			return found
		}
	}
}
