package durability_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/await"
	"github.com/gatepass/gatepass/test/folder"
)

// killsVariable says how often the gateway is killed.
const killsVariable = "GATEPASS_TEST_KILLS"

func kills(t *testing.T) int {
	t.Helper()
	const otherwise = 300 // a minute and a half on a busy machine
	if set := os.Getenv(killsVariable); set != "" {
		return must(strconv.Atoi(set))(t)
	}
	return otherwise
}

// A gateway is killed again and again while clients write through its API, and
// sometimes while it starts. What it acknowledged is there afterwards, and of what it
// did not either all or nothing.
func TestKilledWhileServing(t *testing.T) {
	t.Parallel()
	const (
		workers    = 6
		starting   = 5 // every so many kills one comes early
		maxStart   = 100 * time.Millisecond
		maxWriting = 60 * time.Millisecond
		listing    = 20 // every so many kills all names are compared
	)
	f := folder.New(t, commands, t.TempDir())
	g := must(f.Start(t.Context()))(t)
	defer func() {
		_ = g.Kill() // it has ended if all went well
		if t.Failed() {
			t.Logf("the last gateway's log:\n%s", g.Logs())
		}
	}()
	login := g.Administrator(t)
	session := g.Want(t, "/auth", login...).Token
	all := make([]*worker, workers)
	for i := range all {
		all[i] = newWorker(i)
	}
	var starts []time.Duration
	count := kills(t)
	for i := 1; i <= count; i++ {
		var group sync.WaitGroup
		acknowledged := make(chan struct{}, 1)
		for _, w := range all {
			group.Go(func() {
				for w.step(g, session, login) {
					select {
					case acknowledged <- struct{}{}:
					default:
					}
				}
			})
		}
		select {
		case <-acknowledged:
			<-time.After(rand.N(maxWriting)) //nolint:gosec // any moment will do
		case <-time.After(await.Patience):
			t.Errorf("nothing was acknowledged within %s", await.Patience)
		}
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		f.Client.CloseIdleConnections()
		if i%starting == 0 {
			killStarting(t, f, rand.N(maxStart)) //nolint:gosec // any moment will do
		}
		began := time.Now()
		g = must(f.Start(t.Context()))(t)
		starts = append(starts, time.Since(began))
		inspectAll(t, g, all, session)
		if i%listing == 0 || i == count {
			compareNames(t, g, all, session)
		}
		if t.Failed() {
			t.Fatalf("after %d kills", i)
		}
	}
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
	f.CheckDatabase(t)
	report(t, count, all, starts)
}

// killStarting kills a gateway that is not ready yet, unless it is faster.
func killStarting(t *testing.T, f *folder.Folder, after time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	if g, err := f.Start(ctx); err == nil {
		if err := g.Kill(); err != nil {
			t.Error(err)
		}
	} else if ctx.Err() == nil {
		t.Errorf("it does not start: %v", err)
	}
}

func inspectAll(t *testing.T, g *folder.Gateway, all []*worker, session string) {
	t.Helper()
	var group sync.WaitGroup
	for _, w := range all {
		group.Go(func() {
			if err := w.inspect(g, session); err != nil {
				t.Error(err)
			}
			for _, p := range w.problems {
				t.Error(p)
			}
		})
	}
	group.Wait()
}

// compareNames looks whether there is anything that nobody knows of.
func compareNames(t *testing.T, g *folder.Gateway, all []*worker, session string) {
	t.Helper()
	var want, got []string
	for _, w := range all {
		for _, o := range w.objects {
			if o.known.exists {
				want = append(want, o.name)
			}
		}
	}
	for _, i := range g.Want(t, "/list-items", "token", session, "path", "/", "auto-pagination", "enabled").Items {
		got = append(got, i.Item)
	}
	for _, r := range g.Want(t, "/list-roles", "token", session).Roles {
		if strings.HasPrefix(r.Role, "worker-") {
			got = append(got, r.Role)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("there are %q, want %q", got, want)
	}
	if a := g.MustAsk(t, "/validate-token", "token", session); a.Status != http.StatusOK || !a.IsValid {
		t.Errorf("the session is lost: %+v", a)
	}
}

func report(t *testing.T, count int, all []*worker, starts []time.Duration) {
	t.Helper()
	acknowledged, done := 0, 0
	for _, w := range all {
		acknowledged += w.acknowledged
		done += w.done
	}
	if acknowledged < count {
		t.Errorf("only %d changes were acknowledged", acknowledged)
	}
	slices.Sort(starts)
	t.Logf("%d kills; %d changes were acknowledged, and %d done without an answer; ready after %s, at most %s",
		count, acknowledged, done, starts[len(starts)/2], starts[len(starts)-1])
}
