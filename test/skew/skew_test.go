package skew_test

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/repo"
	"github.com/gatepass/gatepass/test/skew"
)

// The agent says in its log what time it believes to be.
func TestAProgramLivesInAnotherTime(t *testing.T) {
	t.Parallel()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		file := filepath.Join(t.TempDir(), "agent")
		if err := skew.Build(t.Context(), skew.Options{Root: root, Program: "./cmd/gatepass-agent", Ahead: ahead, File: file}); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), file)
		var log strings.Builder
		cmd.Env, cmd.Stderr = []string{"GATEPASS_TERMINATION_MESSAGE_FILE=" + filepath.Join(t.TempDir(), "message")}, &log
		if err := cmd.Run(); err == nil {
			t.Fatal("the agent works without a configuration")
		}
		line, err := bufio.NewReader(strings.NewReader(log.String())).ReadBytes('\n')
		if err != nil {
			t.Fatalf("%v: %s", err, log.String())
		}
		var entry struct{ Time time.Time }
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if off := time.Until(entry.Time) - ahead; off.Abs() > 10*time.Second {
			t.Errorf("the clock is off by %s instead of %s", time.Until(entry.Time), ahead)
		}
	}
}
