package webhook

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/injector"
	"github.com/gatepass/gatepass/injector/profile"
)

const (
	// pollInterval is how often the file and the CA files that it names are
	// read. That costs microseconds, needs no inotify instance, and does not
	// care how a file is replaced: in place, by renaming, or as the kubelet
	// does by swapping a symbolic link above it.
	pollInterval = time.Second
	// complainInterval is how often a file that stays broken is reported.
	complainInterval = time.Minute
	// maxConfig bounds each file; a ConfigMap holds 1 MiB at most.
	maxConfig = 1 << 20
)

// profiles keeps the injector of the configuration file's last good state, and
// those before it for a while.
type profiles struct {
	file    string
	log     *slog.Logger
	metrics *metrics

	inUse atomic.Pointer[revisions]

	// The fields below belong to the goroutine that calls load and watch.
	seen      snapshot
	failure   error
	complaint time.Time
}

// snapshot is what the files held when they were read last, by name: a digest
// of the content, or of the reason why there was none.
type snapshot map[string][sha256.Size]byte

// read reads a file and notes what it held.
func (s snapshot) read(name string) ([]byte, error) {
	data, err := readBounded(name)
	if err != nil {
		s[name] = sha256.Sum256([]byte(err.Error()))
		return nil, err
	}
	s[name] = sha256.Sum256(data)
	return data, nil
}

// stale reports whether a file holds something else now.
func (s snapshot) stale() bool {
	now := snapshot{}
	for name, sum := range s {
		_, _ = now.read(name) // a failure is noted as well
		if now[name] != sum {
			return true
		}
	}
	return len(s) == 0
}

// current returns the injector, or nil before the first good configuration.
func (p *profiles) current() decider {
	if r := p.inUse.Load(); r != nil {
		return r
	}
	return nil
}

// ready returns nil when there is a configuration to decide by.
func (p *profiles) ready() error {
	if p.inUse.Load() == nil {
		return errors.New("no valid configuration has been loaded yet; see the log")
	}
	return nil
}

// watch follows the files until ctx is done.
func (p *profiles) watch(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.load()
		}
	}
}

// load reads the files if they changed and, if they are valid, takes them
// into use. A broken file leaves the last good configuration where it is, and
// is reported when it breaks and then once a minute.
func (p *profiles) load() {
	if !p.seen.stale() {
		if p.failure != nil && time.Since(p.complaint) >= complainInterval {
			p.complain()
		}
		return
	}
	p.seen = snapshot{}
	set, err := p.parse()
	p.failure = err
	p.metrics.reloaded(err)
	if err != nil {
		p.complain()
		return
	}
	p.inUse.Store(p.inUse.Load().next(injector.New(set), time.Now()))
	p.log.Info("configuration loaded", "file", p.file, "profiles", set.Names())
}

func (p *profiles) parse() (*profile.Set, error) {
	data, err := p.seen.read(p.file)
	if err != nil {
		return nil, fmt.Errorf("the configuration can't be read: %w", err)
	}
	return profile.Parse(data, profile.Options{ReadFile: p.seen.read, Overridable: injector.Overridable()})
}

func (p *profiles) complain() {
	p.complaint = time.Now()
	if p.inUse.Load() == nil {
		p.log.Error("the configuration is broken and there was none before: every pod that asks for a session is refused", "file", p.file, "error", p.failure)
		return
	}
	p.log.Error("the configuration is broken: the last good configuration stays in use", "file", p.file, "error", p.failure)
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxConfig {
		return nil, errors.New(name + " is larger than 1 MiB")
	}
	return data, nil
}
