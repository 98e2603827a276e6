package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/gateway/session"
)

// Those who try tokens are to be seen, wherever they try them; those whose sessions
// are valid ask often, and leave no line.
func TestSessionsThatAreNotValidAreRecorded(t *testing.T) {
	t.Parallel()
	state := &fixedState{}
	g, kept := newGateway(t, state, nil)
	good, _, err := state.sessions.Sign(session.Grant{AccessID: accessID, Subject: "s", TTL: time.Minute, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	review := func(token string) string {
		return `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + token + `"}}`
	}
	for _, tt := range []struct {
		name, path, body string
		status           int
		event, reason    string
	}{
		{"a valid session", "/validate-token", `{"token":"` + good + `"}`, 200, "", ""},
		{"a valid session under review", "/k8s/token-review", review(good), 200, "", ""},
		{"junk", "/validate-token", `{"token":"junk"}`, 200, "validate-token", "session-invalid"},
		{"junk under review", "/k8s/token-review", review("junk"), 200, "token-review", "session-invalid"},
		{"nothing", "/validate-token", `{}`, 400, "validate-token", "session-missing"},
		{"nothing under review", "/k8s/token-review", review(""), 200, "token-review", "session-missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, text := serve(t, g, http.MethodPost, tt.path, tt.body)
			if res.StatusCode != tt.status {
				t.Errorf("%d %s", res.StatusCode, text)
			}
			if tt.event == "" {
				if kept.lines.Len() > 0 {
					t.Errorf("audit log %s", &kept.lines)
				}
				return
			}
			if got := kept.last(t); got["event"] != tt.event || got["result"] != "denied" || got["reason"] != tt.reason || got["client"] == nil {
				t.Errorf("audit log %v", got)
			}
		})
	}
	t.Run("nothing is answered that is not recorded", func(t *testing.T) {
		g, _ := newGateway(t, state, func(o *Options) { o.Audit = noAudit{} })
		for path, body := range map[string]string{"/validate-token": `{"token":"junk"}`, "/k8s/token-review": review("junk")} {
			res, text := serve(t, g, http.MethodPost, path, body)
			if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(text, "can't record") {
				t.Errorf("%s: %d %s", path, res.StatusCode, text)
			}
		}
	})
}
