package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// tally counts tests, subtests included, and shows packages as they end.
type tally struct {
	out                     io.Writer
	passed, failed, skipped int
	skips                   []string
	ran                     map[string]int      // tests by package
	broken                  map[string]int      // failed tests by package
	output                  map[string][]string // by package and test, until it has passed
	builds                  map[string][]string // compiler output by build
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, ran: map[string]int{}, broken: map[string]int{}, output: map[string][]string{}, builds: map[string][]string{}}
}

// maxLine bounds a line of output; a test that prints more is mistaken.
const maxLine = 16 << 20

// Read counts events until the end of the stream.
func (t *tally) Read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(t.out, lines.Text()) // go test prints some errors as plain text
			continue
		}
		t.add(e)
	}
	return lines.Err()
}

func (t *tally) add(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		t.output[key] = append(t.output[key], e.Output)
	case "build-output":
		t.builds[e.ImportPath] = append(t.builds[e.ImportPath], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
		} else {
			t.endTest(e, key)
		}
		delete(t.output, key)
	}
}

func (t *tally) endTest(e event, key string) {
	t.ran[e.Package]++
	switch e.Action {
	case "pass":
		t.passed++
	case "skip":
		t.skipped++
		t.skips = append(t.skips, key)
		t.print(t.output[key])
	case "fail":
		t.failed++
		t.broken[e.Package]++
		t.print(t.output[key])
	}
}

func (t *tally) endPackage(e event) {
	n := t.ran[e.Package]
	switch {
	case e.Action == "fail":
		t.print(t.builds[e.FailedBuild])
		t.printUnfinished(e.Package)
		fmt.Fprintf(t.out, "FAIL  %s\n", e.Package)
		if t.broken[e.Package] == 0 {
			t.failed++ // it did not build, or died outside of a test
		}
	case n > 0:
		fmt.Fprintf(t.out, "ok    %-60s %4d tests %7.1fs\n", e.Package, n, e.Elapsed)
	}
}

// printUnfinished shows the output of the package and of tests that never
// ended, which is where a panic or a timeout leaves its trace.
func (t *tally) printUnfinished(pkg string) {
	var keys []string
	for key := range t.output {
		if strings.HasPrefix(key, pkg+" ") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		t.print(t.output[key])
	}
}

func (t *tally) print(lines []string) {
	for _, l := range lines {
		fmt.Fprint(t.out, l)
	}
}

// Missing returns those of the packages that ran no test.
func (t *tally) Missing(packages []string) []string {
	var missing []string
	for _, p := range packages {
		if t.ran[p] == 0 {
			missing = append(missing, p)
		}
	}
	return missing
}

// String is the closing line.
func (t *tally) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", t.passed, t.failed, t.skipped)
}

// Verdict is nil only if tests ran and all of them passed.
func (t *tally) Verdict() error {
	switch {
	case t.failed > 0:
		return fmt.Errorf("%d failed", t.failed)
	case t.skipped > 0:
		return fmt.Errorf("%d skipped; a test that can't run here has to be made able to: %s", t.skipped, strings.Join(t.skips, ", "))
	case t.passed == 0:
		return errors.New("no test ran")
	}
	return nil
}
