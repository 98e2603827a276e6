package maintenance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/catalog"
	"github.com/gatepass/gatepass/gateway/seal"
	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

// patience is how long a test waits for what is due to happen at once.
const patience = 30 * time.Second

// childFolder, if it is in the environment, makes this process one that asks the
// gateway of that folder.
const childFolder = "GATEPASS_TEST_MAINTAINED_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		c := NewClient(dir)
		if err := errors.Join(c.Ping(context.Background()), c.Close()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// ledger keeps the audit log, or refuses to.
type ledger struct {
	mu     sync.Mutex
	lines  bytes.Buffer
	broken bool
}

func (l *ledger) Write(e *audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return errors.New("disk full")
	}
	return audit.NewLog(&l.lines).Write(e)
}

func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// rig is a data folder with a server that maintains it.
type rig struct {
	dir    string
	keys   string
	store  store.Store
	sealer *seal.Sealer
	ledger *ledger
	server *Server
	client *Client
	stop   func()
}

// start makes a rig; change may replace its parts.
func start(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir(), ledger: &ledger{}}
	log := slog.New(slog.DiscardHandler)
	r.keys = filepath.Join(r.dir, "seal.key")
	if _, err := seal.CreateFile(r.keys); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.sealer, err = seal.New(seal.Options{File: r.keys, Logger: log}); err != nil {
		t.Fatal(err)
	}
	if r.store, err = bolt.Open(bolt.Options{Dir: r.dir}); err != nil {
		t.Fatal(err)
	}
	objects, err := catalog.New(catalog.Options{Store: r.store, Seal: r.sealer, Audit: r.ledger, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: r.dir, Logger: log, Keeper: Keeper{Store: r.store, Sealer: r.sealer, Administrators: objects, Audit: r.ledger}}
	if change != nil {
		change(&o)
	}
	if r.server, err = Listen(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r.client = NewClient(r.dir)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.server.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err := errors.Join(err, r.client.Close(), r.store.Close()); err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the server does not end")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// until looks until a condition holds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// fails is whether an error has a text.
func fails(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

// brokenStore can't be read to the end.
type brokenStore struct{ store.Store }

func (s brokenStore) Snapshot(_ context.Context, _ string, visit func(store.Item) error) (int64, error) {
	if err := visit(store.Item{Key: "a", Value: bytes.Repeat([]byte("x"), store.MaxValue)}); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("read page 7: %w", io.ErrUnexpectedEOF)
}
