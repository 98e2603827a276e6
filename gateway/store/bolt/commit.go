package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/gatepass/gatepass/gateway/store"
)

// Bounds of what is written at once. A batch of one commit may exceed maxBatchSize.
const (
	maxBatch     = 256
	maxBatchSize = 4 << 20
)

// request is a commit on its way to the goroutine that writes.
type request struct {
	ops []store.Op // sorted by key, with values encoded
	// size is that of keys and values.
	size int
	// gone is closed when the caller has given up.
	gone  <-chan struct{}
	reply chan<- reply
}

// reply is what became of a request.
type reply struct {
	revision int64
	err      error
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, ops ...store.Op) (int64, error) {
	if err := store.CheckOps(ops); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	answer := make(chan reply, 1)
	r := &request{gone: ctx.Done(), reply: answer}
	// The writer gets a copy: it may still be at it when the caller has given up.
	r.ops = slices.Clone(ops)
	for i, o := range r.ops {
		r.size += o.Size()
		if o.Action == store.ActionPut {
			r.ops[i].Value = encode(o.Value)
		}
	}
	slices.SortFunc(r.ops, func(a, b store.Op) int { return strings.Compare(a.Key, b.Key) })
	select {
	case s.requests <- r:
	case <-s.closing:
		return 0, errClosed()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case a := <-answer:
		return a.revision, a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// write commits what is requested until the store is closed.
func (s *Store) write() {
	defer close(s.stopped)
	for {
		select {
		case first := <-s.requests:
			s.commit(s.gather(first))
		case <-s.closing:
			return
		}
	}
}

// yields is how often gather lets others run before it goes without them. Those
// who got their answers from the batch before may be about to ask again; without
// it, 32 writers would end up in two groups that wait for each other's fsync.
const yields = 4

// gather returns all requests that wait, up to the bounds of a batch.
func (s *Store) gather(first *request) []*request {
	batch, yielded := []*request{first}, 0
	for size := first.size; len(batch) < maxBatch && size < maxBatchSize; {
		select {
		case r := <-s.requests:
			batch = append(batch, r)
			size += r.size
		default:
			if yielded == yields {
				return batch
			}
			yielded++
			runtime.Gosched()
		}
	}
	return batch
}

// commit writes a batch in one transaction, and answers when it is on the disk. A
// request whose condition does not hold changes nothing, and does not disturb the
// others.
func (s *Store) commit(batch []*request) {
	replies, events, err := s.apply(batch)
	if err != nil {
		err = errors.Join(fmt.Errorf("%w: write the database: %w", store.ErrUnavailable, err), s.reconcile())
	} else {
		s.history.add(events)
	}
	for i, r := range batch {
		if err != nil {
			r.reply <- reply{err: err}
			continue
		}
		r.reply <- replies[i]
	}
}

// reconcile looks whether a batch that failed was done nevertheless: it was when
// only the last fsync failed. Who watches then has to read everything anew,
// because the events of the batch are not known.
func (s *Store) reconcile() error {
	return s.view(func(tx *bbolt.Tx) error {
		s.history.reset(number(tx.Bucket([]byte(metaBucket)), revisionKey))
		return nil
	})
}

func (s *Store) apply(batch []*request) ([]reply, []store.Event, error) {
	tx, err := s.db.Begin(true)
	if err != nil {
		return nil, nil, err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing, and before it there is nothing to lose
	meta, items := tx.Bucket([]byte(metaBucket)), tx.Bucket([]byte(itemsBucket))
	revision := number(meta, revisionKey)
	replies := make([]reply, 0, len(batch))
	var events []store.Event
	for _, r := range batch {
		if err := r.admit(items); err != nil {
			replies = append(replies, reply{err: err})
			continue
		}
		changes, err := r.apply(items, revision+1)
		if err != nil {
			return nil, nil, err
		}
		if len(changes) > 0 {
			revision++
			events = append(events, store.Event{Revision: revision, Changes: changes})
		}
		replies = append(replies, reply{revision: revision})
	}
	if len(events) == 0 {
		return replies, nil, nil
	}
	if err := putNumber(meta, revisionKey, revision); err != nil {
		return nil, nil, err
	}
	return replies, events, tx.Commit()
}

// admit returns why a request is not to be done.
func (r *request) admit(items *bbolt.Bucket) error {
	select {
	case <-r.gone:
		return context.Canceled // nobody reads it
	default:
	}
	for _, o := range r.ops {
		if o.Revision == store.Any {
			continue
		}
		revision, err := revisionOf(items.Get([]byte(o.Key)))
		if err != nil {
			return fmt.Errorf("%s: %w", o.Key, err)
		}
		if revision != o.Revision {
			return fmt.Errorf("%s: %w", o.Key, store.ErrConflict)
		}
	}
	return nil
}

// apply changes the bucket, and returns what is different then.
func (r *request) apply(items *bbolt.Bucket, revision int64) ([]store.Change, error) {
	var changes []store.Change
	for _, o := range r.ops {
		key := []byte(o.Key)
		switch o.Action {
		case store.ActionPut:
			stamp(o.Value, revision)
			if err := items.Put(key, o.Value); err != nil {
				return nil, err
			}
			changes = append(changes, store.Change{Key: o.Key, Value: o.Value[revisionSize:]})
		case store.ActionDelete:
			if items.Get(key) == nil {
				continue
			}
			if err := items.Delete(key); err != nil {
				return nil, err
			}
			changes = append(changes, store.Change{Key: o.Key, Deleted: true})
		case store.ActionExpect:
		}
	}
	return changes, nil
}
