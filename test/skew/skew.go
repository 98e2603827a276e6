// Package skew builds programs that live in another time: their
// clock is ahead of the machine's, or behind. Nothing else can do that to a static
// program: time namespaces of Linux leave the time of day alone, and there is no
// dynamic linker to load a library that lies about it.
package skew

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The place in Go's package time where the clock is read, and what is to
// happen there. Timers and deadlines go by the monotonic clock, which stays.
const (
	original = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	shifted  = original + "\tsec += shift\n"
	// declaration is a variable that the linker sets (-X), so that all programs
	// share what was compiled. Package time can't import strconv, and has an atoi
	// of its own.
	declaration = `
var shiftSeconds string

var shift = func() int64 {
	seconds, err := atoi(shiftSeconds)
	if err != nil {
		panic("shiftSeconds: " + err.Error())
	}
	return int64(seconds)
}()
`
)

// Options say what to build.
type Options struct {
	// Root is the checkout.
	Root string
	// Program is a main package of the product, as in ./cmd/gatepass-agent.
	Program string
	// Ahead is how much later the program believes it to be, in whole seconds;
	// negative means earlier.
	Ahead time.Duration
	// File receives the program.
	File string
}

// Build builds a program as for a release, but for its clock.
func Build(ctx context.Context, o Options) (err error) {
	work, err := os.MkdirTemp("", "gatepass-skew-")
	if err != nil {
		return fmt.Errorf("build %s with another clock: %w", o.Program, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("find Go's own packages: %w", err)
	}
	overlay, err := Overlay(strings.TrimSpace(string(root)), work)
	if err != nil {
		return fmt.Errorf("build %s with another clock: %w", o.Program, err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version=skewed "+LinkerFlag(o.Ahead), "-o", o.File, o.Program)
	cmd.Dir = o.Root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s with another clock: %w\n%s", o.Program, err, out)
	}
	return nil
}

// LinkerFlag is what -ldflags has to hold for a clock that is ahead by so much,
// in whole seconds.
func LinkerFlag(ahead time.Duration) string {
	return "-X time.shiftSeconds=" + strconv.FormatInt(int64(ahead/time.Second), 10)
}

// Change is what an overlay changes, for whoever notes what a program is made
// from.
func Change() string { return shifted + declaration }

// Overlay writes the changed file of package time into dir, and the file that
// has the go command take it instead (go help build, -overlay), whose name it
// returns. goroot is that of the command.
func Overlay(goroot, dir string) (string, error) {
	source := filepath.Join(goroot, "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	if bytes.Count(text, []byte(original)) != 1 {
		return "", fmt.Errorf("%s does not read the clock as expected; adapt package skew to this version of Go", source)
	}
	text = append(bytes.Replace(text, []byte(original), []byte(shifted), 1), declaration...)
	changed := filepath.Join(dir, "time.go")
	if err := os.WriteFile(changed, text, 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, overlay, 0o600)
}
