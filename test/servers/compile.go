package servers

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/test/repo"
	"github.com/gatepass/gatepass/test/skew"
)

// build brings every part up to date, under the version's lock.
func (b *builder) build(ctx context.Context, parts []string) error {
	release, err := repo.Lock(ctx, b.lock, func() {
		fmt.Fprintf(b.out, "Another run is building servers into %s; waiting for it.\n", b.dir)
	})
	if err != nil {
		return err
	}
	defer release()
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	var stale []target
	for _, part := range parts {
		t, err := b.target(part)
		if err != nil {
			return err
		}
		want, err := b.stamp(t)
		if err != nil {
			return err
		}
		if !b.upToDate(t, want) {
			stale = append(stale, t)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	b.announce(stale)
	for _, t := range stale {
		if err := b.compile(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) announce(stale []target) {
	var names []string
	var cold time.Duration
	for _, t := range stale {
		names = append(names, t.name)
		cold += t.cold
	}
	fmt.Fprintf(b.out, "Building %s into %s.\n", strings.Join(names, ", "), b.dir)
	fmt.Fprintf(b.out, "This is done once. With nothing in Go's build cache it takes about %s on 2 cores (and first downloads the sources).\n",
		cold.Round(30*time.Second))
}

// stamp identifies everything that a binary is made from: the compiler and its
// target, the pinned modules, the package and the flags, and the program's own
// source if the module has one.
func (b *builder) stamp(t target) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", b.goVer, t.pkg, t.ldflags)
	if t.skewed {
		fmt.Fprintln(h, skew.Change())
	}
	own, err := filepath.Glob(filepath.Join(b.source, t.module, "*.go"))
	if err != nil {
		return "", err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(b.source, t.module, name))
		if err != nil {
			return "", err
		}
		h.Write(content)
	}
	for _, file := range own {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s\n%s\n", filepath.Base(file), content)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (b *builder) stampFile(t target) string { return filepath.Join(b.dir, "."+t.name+".stamp") }

func (b *builder) upToDate(t target, want string) bool {
	got, err := os.ReadFile(b.stampFile(t))
	if err != nil || string(got) != want {
		return false
	}
	_, err = os.Stat(filepath.Join(b.dir, t.name))
	return err == nil
}

// compile builds one binary beside its place and renames it there, so that
// nobody ever runs half a file. The stamp is written last.
func (b *builder) compile(ctx context.Context, t target) (err error) {
	stamp, err := b.stamp(t)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "gatepass-servers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	flags, err := b.flags(ctx, t, work)
	if err != nil {
		return err
	}
	total, err := b.countStale(ctx, t, flags)
	if err != nil {
		return err
	}
	p := newProgress(b.out, t.name, total)
	tmp := filepath.Join(b.dir, "."+t.name+".new")
	args := slices.Concat([]string{"build", "-v"}, flags, []string{"-ldflags", t.ldflags, "-o", tmp, t.pkg})
	cmd := b.command(ctx, t.module, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run go build; is Go on the PATH? %w", err)
	}
	complaints := p.follow(stderr)
	if err := cmd.Wait(); err != nil {
		p.done(false)
		return fmt.Errorf("build %s: %w\n%s", t.name, err, complaints)
	}
	p.done(true)
	if err := os.Rename(tmp, filepath.Join(b.dir, t.name)); err != nil {
		return err
	}
	return os.WriteFile(b.stampFile(t), []byte(stamp), 0o644)
}

// flags are those that decide what is compiled. Files that they name go into
// the folder work.
func (b *builder) flags(ctx context.Context, t target, work string) ([]string, error) {
	flags := []string{"-trimpath", "-buildvcs=false"}
	if !t.skewed {
		return flags, nil
	}
	root, err := b.goOutput(ctx, t.module, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	overlay, err := skew.Overlay(root, work)
	return append(flags, "-overlay", overlay), err
}

// countStale returns how many packages go build will have to compile.
func (b *builder) countStale(ctx context.Context, t target, flags []string) (int, error) {
	out, err := b.goOutput(ctx, t.module, slices.Concat([]string{"list"}, flags, []string{"-deps", "-f", "{{if .Stale}}x{{end}}", t.pkg})...)
	if err != nil {
		return 0, err
	}
	return strings.Count(out, "x"), nil
}

// progress tells a person how far a build is. It prints a line every few
// seconds, so that it reads well in a terminal and in a CI log.
type progress struct {
	out   io.Writer
	name  string
	total int
	start time.Time
}

// progressEvery is how long a person may wait without a sign of life.
const progressEvery = 10 * time.Second

func newProgress(out io.Writer, name string, total int) *progress {
	fmt.Fprintf(out, "  %s: packages to compile: %d\n", name, total)
	return &progress{out: out, name: name, total: total, start: time.Now()}
}

// follow reads what `go build -v` prints: the name of each package that it
// begins to compile. It returns every other line, which are the complaints.
func (p *progress) follow(r io.Reader) string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	var complaints strings.Builder
	begun, last := 0, ""
	for {
		select {
		case line, open := <-lines:
			if !open {
				return complaints.String()
			}
			if strings.ContainsAny(line, " \t") {
				complaints.WriteString(line + "\n")
				continue
			}
			begun++
			last = line
		case <-tick.C:
			p.report(begun, last)
		}
	}
}

func (p *progress) report(begun int, last string) {
	what := "compiling " + last
	switch {
	case begun == 0:
		what = "getting ready"
	case begun >= p.total:
		what = "linking, or the last few"
	}
	fmt.Fprintf(p.out, "  %s: %d of %d packages, %s so far, %s\n",
		p.name, min(begun, p.total), p.total, time.Since(p.start).Round(time.Second), what)
}

func (p *progress) done(ok bool) {
	result := "built"
	if !ok {
		result = "failed"
	}
	fmt.Fprintf(p.out, "  %s: %s in %s\n", p.name, result, time.Since(p.start).Round(100*time.Millisecond))
}
