// Package watch reads a session again and again, as an application would that
// reads it before each request, and notes what such an application could trip
// over.
package watch

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gatepass/gatepass/test/bed/app/report"
)

// maxProblems bounds what is noted; the first ones tell.
const maxProblems = 20

// settle is for how long session.json may be newer than the token: it is written a
// moment before, and a machine may be busy in that moment.
const settle = 5 * time.Second

// Result is what a while of reading has shown.
type Result struct {
	Reads int `json:"reads"`
	// Tokens are the different ones, in the order in which they appeared.
	Tokens   []string `json:"tokens"`
	Problems []string `json:"problems,omitempty"`
}

// details is session.json.
type details struct {
	Expiry time.Time `json:"expiry"`
	Claims claims    `json:"claims"`
}

type claims struct {
	ID     string `json:"jti"`
	Expiry int64  `json:"exp"`
}

type watcher struct {
	Result
	token, description  string // as last read
	claims              claims
	details             details
	described           time.Time // when session.json last changed
	tokenFile, jsonFile string
}

// Watch reads the token file, and session.json beside it, without a pause for d.
func Watch(tokenFile string, d time.Duration) Result {
	w := &watcher{tokenFile: tokenFile, jsonFile: filepath.Join(filepath.Dir(tokenFile), "session.json")}
	for end := time.Now().Add(d); time.Now().Before(end) && len(w.Problems) < maxProblems; w.Reads++ {
		if err := w.look(); err != nil {
			w.Problems = append(w.Problems, fmt.Sprintf("read %d: %v", w.Reads, err))
		}
	}
	return w.Result
}

func (w *watcher) look() error {
	token, err := os.ReadFile(w.tokenFile)
	if err != nil {
		return err
	}
	now := time.Now()
	if string(token) != w.token {
		w.token = string(token)
		w.Tokens = append(w.Tokens, w.token)
		if w.claims, err = parse(w.token); err != nil {
			return err
		}
	}
	if now.Unix() >= w.claims.Expiry {
		return fmt.Errorf("session %s expired at %d, and it is %d", w.claims.ID, w.claims.Expiry, now.Unix())
	}
	// Whoever has a token finds its description, or already the next one's.
	description, err := os.ReadFile(w.jsonFile)
	if err != nil {
		return err
	}
	if string(description) != w.description {
		w.description, w.described, w.details = string(description), now, details{}
		if err := json.Unmarshal(description, &w.details); err != nil {
			return fmt.Errorf("session.json of %d bytes: %w", len(description), err)
		}
		if d := w.details; d.Expiry.Unix() != d.Claims.Expiry {
			return fmt.Errorf("session.json has expiry %s and claims that end at %d", d.Expiry, d.Claims.Expiry)
		}
	}
	switch d := w.details.Claims; {
	case d.ID == w.claims.ID:
	case d.Expiry < w.claims.Expiry:
		return fmt.Errorf("session.json describes %s, older than the token %s", d.ID, w.claims.ID)
	case now.Sub(w.described) > settle:
		return fmt.Errorf("session.json describes %s for %s, but the token is still %s", d.ID, now.Sub(w.described), w.claims.ID)
	}
	return nil
}

func parse(token string) (claims, error) {
	all, err := report.Claims(token)
	if err != nil {
		return claims{}, fmt.Errorf("a token of %d bytes: %w", len(token), err)
	}
	id, _ := all["jti"].(string)
	expiry, _ := all["exp"].(float64)
	if id == "" || expiry == 0 {
		return claims{}, fmt.Errorf("a token without id or end: %v", all)
	}
	return claims{ID: id, Expiry: int64(expiry)}, nil
}
