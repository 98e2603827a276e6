// Package bolt keeps the gateway's records in one file on a disk of its own: a
// bbolt database, for one gateway at a time.
//
// A commit is on the disk when Commit returns. Commits that wait at the same time
// share one write and one fsync, so many writers cost little more than one. The
// changes that a Watch may ask for again are kept in memory, and begin with the
// process: after a restart, everybody reads anew.
//
// The file does not shrink. To make it smaller, restore a backup into a new one.
package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepass/gatepass/gateway/store"
)

// FileName is the database's name in its folder.
const FileName = "gatepass.db"

const (
	// format is that of the database; a later one that can't be read as this one
	// gets a higher number.
	format = 1

	// lockTimeout is how long Open waits for another process to let go of the
	// file. A gateway that is being replaced needs a moment to end.
	lockTimeout = 5 * time.Second

	// mapSize is how much address space is mapped at once; none of it is memory
	// until it is used. A larger file is mapped anew, and that has to wait for a
	// snapshot that is under way, with all writers behind it.
	mapSize = 1 << 30
)

// The database's buckets, and the keys of the first. They are constants of a type
// that bbolt does not take, so each is converted where it is used.
const (
	metaBucket  = "meta"
	itemsBucket = "items"
	formatKey   = "format"
	revisionKey = "revision"
)

// Options configure Open.
type Options struct {
	// Dir is the folder of the database. It is made, with mode 0700, if it is
	// missing.
	Dir string
	// LockTimeout is how long to wait for a process that holds the database; 5 s
	// if it is zero.
	LockTimeout time.Duration
	// Existing refuses a folder without a database, instead of making one.
	Existing bool
}

// ErrLocked means that another process has the database open.
var ErrLocked = errors.New("another process has")

// Store is an open database. It implements store.Store.
type Store struct {
	db       *bbolt.DB
	requests chan *request
	history  *history

	close   sync.Once
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the last commit is done
}

var _ store.Store = (*Store)(nil)

// Open opens the database of a folder, or makes it. Close must be called.
func Open(o Options) (*Store, error) {
	if o.LockTimeout == 0 {
		o.LockTimeout = lockTimeout
	}
	name := filepath.Join(o.Dir, FileName)
	if err := provide(o, name); err != nil {
		return nil, err
	}
	if err := verify(name, o.LockTimeout); err != nil {
		return nil, explain(name, err)
	}
	db, err := open(name, o.LockTimeout)
	if err != nil {
		return nil, explain(name, err)
	}
	revision, err := inspect(db)
	// A kubelet that applies an fsGroup opens files to that group.
	if err = errors.Join(err, os.Chmod(name, 0o600), removeUnfinished(o.Dir)); err != nil {
		return nil, errors.Join(explain(name, err), db.Close())
	}
	s := &Store{
		db:       db,
		requests: make(chan *request),
		history:  newHistory(revision),
		closing:  make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	go s.write()
	return s, nil
}

// provide makes a database if there is none, and may be.
func provide(o Options, name string) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil // opening it tells what is wrong with it
	}
	if o.Existing {
		return fmt.Errorf("%s is missing: the folder is not that of a gateway", name)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := create(o.Dir, name); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	return nil
}

func open(name string, timeout time.Duration) (*bbolt.DB, error) {
	return bbolt.Open(name, 0o600, &bbolt.Options{
		Timeout:         timeout,
		InitialMmapSize: mapSize,
		// The list of free pages is not written with each commit, but found when
		// the file is opened: 30 ms for 100,000 items.
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		NoStatistics:   true,
	})
}

// Close waits for the commit that is being written, and for readers.
func (s *Store) Close() error {
	err := error(nil)
	s.close.Do(func() {
		close(s.closing)
		<-s.stopped
		err = s.db.Close()
	})
	if err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

// errClosed is what everything fails with after Close.
func errClosed() error { return fmt.Errorf("%w: it is closed", store.ErrUnavailable) }
