package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	const pass = `{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA/a_row"}
{"Action":"pass","Package":"p","Elapsed":1.5}
`
	for _, row := range []struct {
		name    string
		events  string
		line    string
		verdict string // part of the error; empty means success
		shows   string
	}{
		{
			name: "tests and subtests that pass are counted", events: pass,
			line: "2 passed, 0 failed, 0 skipped", shows: "ok    p",
		},
		{
			name: "a skipped test is named and fails the run",
			events: pass + `{"Action":"output","Package":"q","Test":"TestB","Output":"needs root\n"}
{"Action":"skip","Package":"q","Test":"TestB"}
{"Action":"pass","Package":"q"}
`,
			line: "2 passed, 0 failed, 1 skipped", verdict: "q TestB", shows: "needs root",
		},
		{
			name: "a failed test is shown with its output",
			events: pass + `{"Action":"output","Package":"q","Test":"TestB","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"fail","Package":"q"}
`,
			line: "2 passed, 1 failed, 0 skipped", verdict: "1 failed", shows: "got 1, want 2",
		},
		{
			name: "a package that does not build is a failure",
			events: pass + `{"Action":"build-output","ImportPath":"q [q.test]","Output":"undefined: x\n"}
{"Action":"fail","Package":"q","FailedBuild":"q [q.test]"}
`,
			line: "2 passed, 1 failed, 0 skipped", verdict: "1 failed", shows: "undefined: x",
		},
		{
			name: "a panic is shown and is a failure",
			events: pass + `{"Action":"pass","Package":"q","Test":"TestB"}
{"Action":"output","Package":"q","Test":"TestC","Output":"panic: boom\n"}
{"Action":"fail","Package":"q"}
`,
			line: "3 passed, 1 failed, 0 skipped", verdict: "1 failed", shows: "panic: boom",
		},
		{
			name: "a run without tests is a failure", events: `{"Action":"skip","Package":"p"}` + "\n",
			line: "0 passed, 0 failed, 0 skipped", verdict: "no test ran",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out bytes.Buffer
			total := newTally(&out)
			if err := total.Read(strings.NewReader(row.events)); err != nil {
				t.Fatal(err)
			}
			if got := total.String(); got != row.line {
				t.Errorf("got %q, want %q", got, row.line)
			}
			err := total.Verdict()
			if (err == nil) != (row.verdict == "") || err != nil && !strings.Contains(err.Error(), row.verdict) {
				t.Errorf("verdict %v, want %q", err, row.verdict)
			}
			if !strings.Contains(out.String(), row.shows) {
				t.Errorf("%q is not shown in:\n%s", row.shows, &out)
			}
		})
	}
}

func TestMissingNamesPackagesWhoseTestsDidNotRun(t *testing.T) {
	total := newTally(&bytes.Buffer{})
	if err := total.Read(strings.NewReader(`{"Action":"pass","Package":"p","Test":"TestA"}`)); err != nil {
		t.Fatal(err)
	}
	if got := total.Missing([]string{"p", "q"}); len(got) != 1 || got[0] != "q" {
		t.Errorf("got %v", got)
	}
}
