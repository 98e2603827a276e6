// Command writer commits to a database until it is killed, and prints what was
// acknowledged.
//
// Each of its workers counts in two records that belong together, keeps its last
// entries, and deletes the one before them: all in one commit. A line "3 17" on
// stdout means that the 17th commit of worker 3 was acknowledged.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
	"github.com/gatepass/gatepass/test/store/testdata/writer/entry"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	s, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		return err
	}
	errs := make([]error, entry.Workers)
	var group sync.WaitGroup
	for w := range errs {
		group.Go(func() { errs[w] = work(s, w) })
	}
	group.Wait()
	return errors.Join(append(errs, s.Close())...)
}

func work(s store.Store, w int) error {
	n := 0
	item, err := s.Get(context.Background(), entry.Left(w))
	switch {
	case err == nil:
		if n, err = strconv.Atoi(string(item.Value)); err != nil {
			return err
		}
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	for revision := item.Revision; ; {
		n++
		count := []byte(strconv.Itoa(n))
		ops := []store.Op{
			store.Update(entry.Left(w), count, revision),
			store.Update(entry.Right(w), count, revision),
			store.Create(entry.Key(w, n), entry.Value(w, n)),
		}
		if n > entry.Kept {
			ops = append(ops, store.Delete(entry.Key(w, n-entry.Kept), store.Any))
		}
		if revision, err = s.Commit(context.Background(), ops...); err != nil {
			return err
		}
		// One write, so that no line is cut off by the kill.
		if _, err := fmt.Printf("%d %d\n", w, n); err != nil {
			return err
		}
	}
}
