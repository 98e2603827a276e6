// Package store says how the gateway keeps its records: as values under ordered
// keys, changed in transactions, and followed as they change. Package bolt keeps
// them in one file, for one gateway; package etcd in a cluster, for several.
// Package storetest holds both to what is written here.
//
// Keys are a kind and a name, "role/reader", and are in the order of their bytes.
// Values are bytes that a store does not look into; those that must not be read
// where they lie are sealed before they come here, by package seal.
//
// Every commit that changes something gives the store a new, higher revision, and
// an item has the revision of its last change. A condition on it is how two
// writers don't overwrite each other. Revisions are a store's own: a backup does
// not carry them, and no value may hold one.
package store

import (
	"context"
	"errors"
	"iter"
)

// Bounds that hold for every store. They fit into etcd's defaults: 1.5 MiB for a
// request and 128 operations in a transaction.
const (
	// MaxKey is how many bytes a key has at most.
	MaxKey = 1024
	// MaxValue is how many bytes a value has at most, and a sealed value counts
	// as it is kept: seal.Overhead is to be taken off.
	MaxValue = 64 << 10
	// MaxOps is how many operations a commit has at most.
	MaxOps = 128
	// MaxCommit is how many bytes the keys and values of a commit have together.
	MaxCommit = 1 << 20
	// MaxPage is how many items List returns at most.
	MaxPage = 500
)

// Errors that a caller is expected to tell apart. They come wrapped. An error that
// is none of them is ctx's, or that of a function that the caller gave.
var (
	// ErrNotFound means that there is no such key.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that a condition of a commit did not hold. Nothing was
	// changed: read again, and decide again.
	ErrConflict = errors.New("changed in the meantime")
	// ErrUnavailable means that the store can't be reached, can't write or is
	// closed. A commit that failed with it may have happened nevertheless.
	ErrUnavailable = errors.New("the store is not available")
	// ErrCompacted means that the store no longer has the changes after a
	// revision, or never had that revision. Take a new snapshot.
	ErrCompacted = errors.New("the changes are no longer kept; read everything anew")
	// ErrInvalid means that a key, a value or a request is out of bounds.
	ErrInvalid = errors.New("invalid")
)

// Item is a value and where it is kept.
type Item struct {
	Key   string
	Value []byte
	// Revision is that of the item's last change; it is above 0.
	Revision int64
}

// Query selects a page of items.
type Query struct {
	// Prefix is what the keys start with; empty selects all.
	Prefix string
	// After is the key that the page starts behind: Page.Next of the page before.
	// It need not exist. Empty starts at the first.
	After string
	// Limit is how many items the page has at most: 1 to MaxPage.
	Limit int
}

// Page is a part of a list.
type Page struct {
	Items []Item
	// Next is Query.After of the next page; empty means that there is none.
	Next string
}

// Event is what one commit changed.
type Event struct {
	Revision int64
	// Changes are in the order of their keys.
	Changes []Change
}

// Change is what became of an item. The value of a deleted one is nil.
type Change struct {
	Key     string
	Value   []byte
	Deleted bool
}

// Store keeps items. Its methods are safe for concurrent use, and the values that
// they take and return are the caller's. When ctx ends first they return its
// error; a commit may have happened then, as with ErrUnavailable.
type Store interface {
	// Get returns an item as it is now, everything committed before included, or
	// ErrNotFound.
	Get(ctx context.Context, key string) (Item, error)

	// List returns a page of items in the order of keys. Each page is of its own
	// moment.
	List(ctx context.Context, q Query) (Page, error)

	// Snapshot calls visit with every item under a prefix, in the order of keys,
	// all as of one revision, which it returns: Watch after it to miss nothing.
	// It ends with the first error of visit. Until then it may hold back what the
	// store would clean up, so visit must not wait for a slow peer, nor call the
	// store. It can fail with ErrCompacted, when it takes longer than the store
	// keeps old revisions.
	Snapshot(ctx context.Context, prefix string, visit func(Item) error) (revision int64, err error)

	// Commit does all operations or none, and then returns the revision that the
	// store has by them. The answer means that they last: a crash right after it
	// loses nothing. A commit that changes nothing gives no new revision, and
	// returns the present one. No key may occur twice.
	Commit(ctx context.Context, ops ...Op) (revision int64, err error)

	// Watch yields what is committed under a prefix after a revision: every
	// change, once, in order, the changes of one commit together. It ends when
	// the caller breaks off, and otherwise by yielding an error as its last: that
	// of ctx; ErrCompacted, also for a watcher that is too slow to be waited for;
	// or ErrUnavailable if the store is closed. An outage of the store is no
	// error: Watch waits, and goes on where it was.
	Watch(ctx context.Context, prefix string, after int64) iter.Seq2[Event, error]

	// Close ends everything that runs, and releases the store.
	Close() error
}
