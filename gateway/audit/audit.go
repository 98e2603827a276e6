// Package audit writes the gateway's audit log: one JSON object a line for
// every login and every refusal. It never holds a token or a key.
package audit

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Result says how a login ended.
type Result string

// The results.
const (
	// Granted: a session was issued.
	Granted Result = "granted"
	// Denied: the caller may not log in, or asked wrongly.
	Denied Result = "denied"
	// Failed: the gateway could not tell, for a reason that lies on its side.
	Failed Result = "failed"
)

// Event is one login. Fields that are not known are left out.
type Event struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	Result Result    `json:"result"`
	// Reason is a stable code, Detail words for a person.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Client is the address of the connection; forwarding headers are not
	// trusted.
	Client string `json:"client,omitempty"`
	// AccessID and AuthConfig are as the caller sent them, shortened.
	AccessID   string `json:"access_id,omitempty"`
	AuthConfig string `json:"auth_config,omitempty"`
	AuthMethod string `json:"auth_method,omitempty"`
	// Who the API server says it was.
	Subject string `json:"subject,omitempty"`
	PodName string `json:"pod_name,omitempty"`
	PodUID  string `json:"pod_uid,omitempty"`
	// Session is the jti of the session that was issued.
	Session string    `json:"session,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// maxText bounds a field that a caller or a remote server wrote.
const maxText = 512

// Log writes events to a stream. It is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	out io.Writer
}

// NewLog writes to out, one Write an event.
func NewLog(out io.Writer) *Log { return &Log{out: out} }

// Write appends an event. An error means that it may not have been recorded.
func (l *Log) Write(e *Event) error {
	for _, text := range []*string{&e.Detail, &e.AccessID, &e.AuthConfig, &e.Subject, &e.PodName, &e.PodUID} {
		*text = shorten(*text)
	}
	// Invalid UTF-8 is replaced rather than refused: a caller must not be able to
	// keep itself out of the log.
	line, err := json.Marshal(e, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	line = append(line, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.out.Write(line); err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

func shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	return text[:maxText] + "…"
}
