package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLog(&out)
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := log.Write(&Event{Time: when, Event: "login", Result: Granted, Reason: "ok", Session: "id", Expires: when.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-01-02T03:04:05Z","event":"login","result":"granted","reason":"ok","session":"a56145270ce6b3bebd1dd012b7394867","expires":"2026-01-02T03:05:05Z"}` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}

func TestWriteHostileText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := &Event{AccessID: "a\n{\"result\":\"granted\"}", AuthConfig: "\xff\xfe", Detail: strings.Repeat("é", 1000)}
	if err := NewLog(&out).Write(e); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 1 || !strings.HasSuffix(out.String(), "\n") {
		t.Errorf("more than one line: %q", out.String())
	}
	if out.Len() > 2000 {
		t.Errorf("%d bytes", out.Len())
	}
	var back map[string]any
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Errorf("not JSON: %v", err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteReportsFailure(t *testing.T) {
	t.Parallel()
	if err := NewLog(broken{}).Write(&Event{}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("error %v", err)
	}
}

// oneLine fails if a write is anything but one whole line.
type oneLine struct{ t *testing.T }

func (o oneLine) Write(b []byte) (int, error) {
	if bytes.Count(b, []byte("\n")) != 1 || b[len(b)-1] != '\n' {
		o.t.Errorf("write of %q", b)
	}
	return len(b), nil
}

func TestWriteFromManyGoroutines(t *testing.T) {
	t.Parallel()
	log := NewLog(oneLine{t})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if err := log.Write(&Event{Event: "login", Detail: "x"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
