package readiness_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatepass/gatepass/internal/readiness"
)

// until is an error that ends by itself.
type until time.Time

func (u until) Error() string { return "too early" }

func (u until) Remaining(now time.Time) time.Duration { return time.Time(u).Sub(now) }

func TestReadinessIsLoggedWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := readiness.NewLog(slog.New(slog.NewJSONHandler(&out, nil)))
		wait := fmt.Errorf("certificate: %w", until(time.Now().Add(3*time.Minute)))
		broken := errors.New("config: broken")
		for _, step := range []struct {
			err   error
			after time.Duration
			want  []string
		}{
			{wait, 0, []string{"INFO", "certificate: too early", "3m0s"}},
			{wait, 50 * time.Second, nil},
			{wait, 10 * time.Second, []string{"INFO", "certificate: too early", "2m0s"}},
			{broken, time.Second, []string{"INFO", "config: broken", ""}},
			{nil, time.Second, []string{"INFO", "", ""}},
			{nil, time.Hour, nil},
			{broken, time.Second, []string{"WARN", "config: broken", ""}},
		} {
			<-time.After(step.after)
			out.Reset()
			log.Check(step.err)
			if diff := cmp.Diff(step.want, logged(t, out.Bytes())); diff != "" {
				t.Errorf("%v after %s (-want +got):\n%s", step.err, step.after, diff)
			}
		}
	})
}

// logged is the level, reason and remaining wait of a line.
func logged(t *testing.T, line []byte) []string {
	t.Helper()
	if len(line) == 0 {
		return nil
	}
	var fields struct{ Level, Reason, Remaining string }
	if err := json.Unmarshal(line, &fields); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return []string{fields.Level, fields.Reason, fields.Remaining}
}

func TestAServerThatIsReadyAtOnceSaysSo(t *testing.T) {
	var out bytes.Buffer
	readiness.NewLog(slog.New(slog.NewJSONHandler(&out, nil))).Check(nil)
	if got := logged(t, out.Bytes()); len(got) == 0 || got[0] != "INFO" {
		t.Errorf("logged %q", got)
	}
}

func TestAProbesAnswerSaysHowLongToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if got := readiness.Text(fmt.Errorf("certificate: %w", until(time.Now().Add(90*time.Second)))); !strings.Contains(got, "too early, 1m30s from now") {
			t.Errorf("text %q", got)
		}
		if got := readiness.Text(errors.New("config: broken")); got != "config: broken" {
			t.Errorf("text %q", got)
		}
	})
}
