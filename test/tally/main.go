// Command tally runs `go test` in one module folder after the other, shows a
// person what happens, and counts. It fails if a test failed, was skipped, or
// if a package that has tests ran none: a suite that did not run proves nothing.
//
//	go run ./tally -summary FILE .. . -- -race -count=1 ./...
//
// FILE receives the closing line: "N passed, M failed, K skipped".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	summary := flag.String("summary", "", "file that receives the closing line")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, flag.Args(), *summary)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, summary string) error {
	dash := slices.Index(args, "--")
	if dash < 1 {
		return errors.New("usage: tally [-summary FILE] FOLDER… -- GO-TEST-ARGUMENTS…")
	}
	total := newTally(os.Stdout)
	var errs []error
	for _, dir := range args[:dash] {
		if err := testModule(ctx, dir, args[dash+1:], total); err != nil {
			errs = append(errs, err)
		}
	}
	line := total.String()
	fmt.Println(line)
	if summary != "" {
		errs = append(errs, os.MkdirAll(filepath.Dir(summary), 0o755), os.WriteFile(summary, []byte(line+"\n"), 0o644))
	}
	return errors.Join(append(errs, total.Verdict())...)
}

// testModule runs the tests of one module and compares the packages that
// reported tests with those that have test files.
func testModule(ctx context.Context, dir string, args []string, total *tally) error {
	name, err := list(ctx, dir, "-m")
	if err != nil {
		return err
	}
	expected, err := tested(ctx, dir, args)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir = dir
	// With an interrupt go test ends its test binaries; with a kill it can't.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	fmt.Printf("%s: go test %s\n", name[0], strings.Join(args, " "))
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := total.Read(out); err != nil {
		return errors.Join(err, cmd.Wait())
	}
	err = cmd.Wait()
	if missing := total.Missing(expected); len(missing) > 0 && !slices.ContainsFunc(args, selects) {
		return fmt.Errorf("%s: these packages have tests but none ran: %s", name[0], strings.Join(missing, ", "))
	}
	if err != nil {
		return fmt.Errorf("%s: go test: %w", name[0], err)
	}
	return nil
}

// selects reports whether a flag leaves tests out on purpose.
func selects(arg string) bool {
	pattern, ok := strings.CutPrefix(arg, "-run=")
	return ok && pattern != "."
}

// list returns the words that `go list` prints in a folder.
func list(ctx context.Context, dir string, args ...string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w", dir, err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' || r == '\r' }), nil
}

// tested lists those of the named packages that have tests; benchmarks alone
// are none.
func tested(ctx context.Context, dir string, args []string) ([]string, error) {
	var named []string
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "-tags=") {
			named = append(named, arg)
		}
	}
	lines, err := list(ctx, dir, append([]string{"-f", "{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}\n{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}\n{{end}}"}, named...)...)
	if err != nil {
		return nil, err
	}
	var packages []string
	for _, line := range lines {
		name, file, ok := strings.Cut(line, " ")
		if !ok || slices.Contains(packages, name) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if testFunction.Match(data) {
			packages = append(packages, name)
		}
	}
	return packages, nil
}

// testFunction begins a test or a fuzz target, whose seeds are tests, too.
var testFunction = regexp.MustCompile(`(?m)^func (Test|Fuzz)[A-Z_]\w*\(\w+ \*testing\.[TF]\)`)
