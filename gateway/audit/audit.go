// Package audit writes the gateway's audit log: one JSON object a line for every
// login, every read, every change and every refusal. It never holds a token, a key
// or a secret.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Result says how a request ended.
type Result string

// The results.
const (
	// Granted: a session was issued, or what was asked was done. Of a change, the
	// line is written before it is made. If it could not be made, a line with
	// another result follows; if it has become another, because somebody else
	// changed the object meanwhile, a line of that.
	Granted Result = "granted"
	// Denied: the caller may not do that, or asked wrongly.
	Denied Result = "denied"
	// Failed: the gateway could not tell or do it, for a reason that lies on its
	// side.
	Failed Result = "failed"
)

// Event is one request. Fields that are not known are left out.
type Event struct {
	Time time.Time `json:"time"`
	// Event is "login", or what else was asked.
	Event  string `json:"event"`
	Result Result `json:"result"`
	// Reason is a stable code, Detail words for a person.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Object is the name of what was asked for, NewName the one it gets, and
	// Version the number of a value. Count is how many objects a list told of.
	Object  string `json:"object,omitempty"`
	NewName string `json:"new_name,omitempty"`
	Version int    `json:"version,omitzero"`
	Count   int    `json:"count,omitzero"`
	// Rule is what a role gives from now on, or no more: capabilities, rule type and
	// path. Role, AuthMethod and SubClaims are of an association, and Host and Reviewer
	// of an auth config.
	Rule      string `json:"rule,omitempty"`
	Role      string `json:"role,omitempty"`
	SubClaims string `json:"sub_claims,omitempty"`
	Host      string `json:"host,omitempty"`
	Reviewer  string `json:"reviewer,omitempty"`
	// Revoked is the subject whose sessions were revoked.
	Revoked string `json:"revoked,omitempty"`
	// Protocol is that of the request, if it is not a login.
	Protocol string `json:"protocol,omitempty"`
	// Client is the address of the connection; forwarding headers are not
	// trusted.
	Client string `json:"client,omitempty"`
	// AccessID and AuthConfig are as the caller of a login sent them, shortened;
	// else AccessID is the session's.
	AccessID   string `json:"access_id,omitempty"`
	AuthConfig string `json:"auth_config,omitempty"`
	AuthMethod string `json:"auth_method,omitempty"`
	// Who the API server says it was.
	Subject string `json:"subject,omitempty"`
	PodName string `json:"pod_name,omitempty"`
	PodUID  string `json:"pod_uid,omitempty"`
	// Session is the jti of the session that was issued or used. It is written as
	// its SessionHash.
	Session string    `json:"session,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// maxText bounds a field that a caller or a remote server wrote; maxGrant bounds what
// is given, which has room for all that a rule can say.
const (
	maxText  = 512
	maxGrant = 2048
)

// Log writes events to a stream. It is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	out io.Writer
	// written is the line that is being written.
	written bytes.Buffer
}

// NewLog writes to out, one Write an event.
func NewLog(out io.Writer) *Log { return &Log{out: out} }

// Write appends an event. An error means that it may not have been recorded.
func (l *Log) Write(e *Event) error {
	line := *e
	for _, text := range []*string{
		&line.Event, &line.Detail, &line.Object, &line.NewName, &line.AccessID, &line.AuthConfig, &line.Revoked,
		&line.AuthMethod, &line.Role, &line.Host, &line.Reviewer, &line.Subject, &line.PodName, &line.PodUID,
	} {
		*text = shorten(*text, maxText)
	}
	line.Rule, line.SubClaims = shorten(line.Rule, maxGrant), shorten(line.SubClaims, maxGrant)
	line.Session = SessionHash(e.Session)
	// Invalid UTF-8 is replaced rather than refused: a caller must not be able to
	// keep itself out of the log.
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written.Reset()
	if err := json.MarshalWrite(&l.written, &line, jsontext.AllowInvalidUTF8(true)); err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	l.written.WriteByte('\n')
	if _, err := l.out.Write(l.written.Bytes()); err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

// SessionHash stands for a session in the log: the first half of the SHA-256 of
// its jti, in hexadecimal. It is empty for none.
func SessionHash(id string) string {
	if id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:len(sum)/2])
}

func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
