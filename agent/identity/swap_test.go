package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// volume is a projected volume, written as the kubelet's AtomicWriter does it.
type volume struct {
	dir  string
	last string
	n    int
}

// write makes a folder with the token, turns ..data to it by a rename, and
// removes the folder before.
func (v *volume) write(token string) error {
	v.n++
	name := "..2030_01_01_" + strconv.Itoa(v.n)
	swap := filepath.Join(v.dir, "..data_tmp")
	err := errors.Join(
		os.Mkdir(filepath.Join(v.dir, name), 0o700),
		os.WriteFile(filepath.Join(v.dir, name, "token"), []byte(token), 0o600),
		os.Symlink(name, swap),
		os.Rename(swap, filepath.Join(v.dir, "..data")),
	)
	if v.last != "" {
		err = errors.Join(err, os.RemoveAll(filepath.Join(v.dir, v.last)))
	}
	v.last = name
	return err
}

// A reader may be anywhere between the link and the end of the file when the
// kubelet replaces it.
func TestReadWhileTheKubeletReplacesTheToken(t *testing.T) {
	t.Parallel()
	const count = 1000
	v := &volume{dir: t.TempDir()}
	path := filepath.Join(v.dir, "token")
	// Tokens of one letter each, of different lengths: a mixed one shows.
	token := func(n int) string { return strings.Repeat(string(rune('a'+n%26)), 900+n%26*100) }
	if err := errors.Join(v.write(token(0)), os.Symlink("..data/token", path)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			seen := map[string]bool{}
			for {
				got, err := Read(path)
				if err != nil {
					t.Errorf("after %d different tokens: %v", len(seen), err)
					return
				}
				if want := token(int(got[0] - 'a')); got != want {
					t.Errorf("a mixed token of %d bytes: %.20s…%s", len(got), got, got[len(got)-20:])
					return
				}
				seen[got] = true
				select {
				case <-done:
					if len(seen) < 2 {
						t.Error("saw no token replaced")
					}
					return
				default:
				}
			}
		})
	}
	for n := 1; n <= count; n++ {
		if err := v.write(token(n)); err != nil {
			t.Error(fmt.Errorf("swap %d: %w", n, err))
			break
		}
	}
	close(done)
	readers.Wait()
}
