package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatepass/gatepass/gateway/v2/command"
)

func TestLargeBodiesWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	ring := keyring(t)
	synctest.Test(t, func(t *testing.T) {
		g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting), sessions: ring}, nil)
		for range maxBulky {
			if err := g.bulky.acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range []struct {
			name, path string
			size       int
			status     int
		}{
			{"a large body gives up", "/create-secret", maxUsualBody + 1, http.StatusTooManyRequests},
			{"one of usual size does not wait", "/create-secret", maxUsualBody, http.StatusUnauthorized},
			{"one that is too large for its command does not wait", "/describe-item", maxUsualBody + 1, http.StatusRequestEntityTooLarge},
		} {
			body := `{"x":"` + strings.Repeat("x", tt.size-8) + `"}`
			recorder := httptest.NewRecorder()
			g.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, tt.path, strings.NewReader(body)))
			if recorder.Code != tt.status || (recorder.Code == http.StatusTooManyRequests) != (recorder.Header().Get("Retry-After") != "") {
				t.Errorf("%s: %d %s", tt.name, recorder.Code, recorder.Body)
			}
		}
		g.bulky.release()
		recorder := httptest.NewRecorder()
		g.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/create-secret", strings.NewReader(strings.Repeat(" ", maxUsualBody+1))))
		if recorder.Code != http.StatusBadRequest || len(g.bulky.slots) != maxBulky-1 {
			t.Errorf("%d, and %d turns are taken", recorder.Code, len(g.bulky.slots))
		}
	})
}

// TestBoundsOfBodies: what the tables of commands and of the server say has to
// agree, or a body of a stranger takes more memory than was reckoned with.
func TestBoundsOfBodies(t *testing.T) {
	t.Parallel()
	g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
	seen := map[string]bool{}
	for _, r := range g.routes() {
		if r.maxBody <= 0 || r.maxBody > command.MaxBody || len(r.names) == 0 {
			t.Errorf("%v takes %d bytes", r.names, r.maxBody)
		}
		for _, name := range r.names {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
	}
}
