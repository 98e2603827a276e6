package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/etcd"
	"github.com/gatepass/gatepass/test/await"
)

// etcd's client waits for revisions that are still to come, as if nothing had
// happened. What others commit until then would be missed for good.
func TestAWatcherNoticesThatEtcdWasPutBack(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	st := s.open(t, etcd.Options{})
	must(st.Commit(t.Context(), store.Create("a", nil)))(t)

	data := filepath.Join(s.guard.Dir(), "data")
	s.kill(t)
	backup := filepath.Join(t.TempDir(), "data")
	check(t, os.CopyFS(backup, os.DirFS(data)))
	s.restart(t)

	var latest int64
	for n := range 100 {
		await.Until(t, "a commit", func() bool {
			var err error
			latest, err = st.Commit(t.Context(), store.Put("a", []byte(strconv.Itoa(n))))
			return err == nil
		})
	}
	seen, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for _, err := range st.Watch(t.Context(), "", latest) {
			if err != nil {
				ended <- err
				return
			}
			close(seen) // a watch that has not begun can't miss anything
		}
	}()
	must(st.Commit(t.Context(), store.Put("a", []byte("seen"))))(t)
	<-seen

	s.kill(t)
	check(t, os.RemoveAll(data))
	check(t, os.CopyFS(data, os.DirFS(backup)))
	s.restart(t)
	await.Until(t, "a commit that nobody could see", func() bool {
		_, err := st.Commit(t.Context(), store.Put("a", []byte("unseen")))
		return err == nil
	})
	select {
	case err := <-ended:
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("the watch ended with %v", err)
		}
	case <-time.After(await.Patience):
		t.Error("the watcher waits for what will never come")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
