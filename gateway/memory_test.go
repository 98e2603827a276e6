package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatepass/gatepass/gateway/v2/command"
)

// TestStrangersWithLargeBodiesTakeNoTurn: a body takes its turn when it has arrived and
// its session is valid.
func TestStrangersWithLargeBodiesTakeNoTurn(t *testing.T) {
	t.Parallel()
	g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting), sessions: keyring(t)}, nil)
	for range maxBulky { // nobody else has one
		if err := g.bulky.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, path string
		size       int
		status     int
	}{
		{"a large body", "/create-secret", maxUsualBody + 1, http.StatusUnauthorized},
		{"one of usual size", "/create-secret", maxUsualBody, http.StatusUnauthorized},
		{"one that is too large for its command", "/describe-item", maxUsualBody + 1, http.StatusRequestEntityTooLarge},
	} {
		body := `{"x":"` + strings.Repeat("x", tt.size-8) + `"}`
		recorder := httptest.NewRecorder()
		g.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, tt.path, strings.NewReader(body)))
		if recorder.Code != tt.status {
			t.Errorf("%s: %d %s", tt.name, recorder.Code, recorder.Body)
		}
		if taken := g.bodies.Taken(); taken != 0 {
			t.Errorf("%s: %d bytes of bodies are lost", tt.name, taken)
		}
	}
}

func TestLargeBodiesOfSessionsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
		for range maxBulky {
			if err := g.bulky.acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		c := &call{Request: httptest.NewRequest(http.MethodPost, "/create-secret", nil)}
		if refused := c.take(c.Context(), g.bulky); refused == nil || refused.status != http.StatusTooManyRequests || refused.retryAfter == 0 {
			t.Errorf("one too many: %+v", refused)
		}
		g.bulky.release()
		if refused := c.take(c.Context(), g.bulky); refused != nil {
			t.Errorf("there is room: %+v", refused)
		}
		c.giveBack()
		if len(g.bulky.slots) != maxBulky-1 {
			t.Errorf("%d turns are taken", len(g.bulky.slots))
		}
	})
}

func TestBodiesWithMoreValuesThanTheyMayHave(t *testing.T) {
	t.Parallel()
	g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting), sessions: keyring(t)}, nil)
	for path, body := range map[string]string{
		"/create-secret":            `{"tags":[` + strings.Repeat(`"",`, 50_000) + `""]}`,
		"/auth":                     `{"x":{` + strings.Repeat(`"":0,`, 12_000) + `"":0}}`,
		"/k8s/token-review":         `{"spec":{"audiences":[` + strings.Repeat(`"",`, 5_000) + `""]}}`,
		"/v1/auth/kubernetes/login": `{"x":[` + strings.Repeat(`{},`, 20_000) + `{}]}`,
	} {
		recorder := httptest.NewRecorder()
		g.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
		if recorder.Code != http.StatusRequestEntityTooLarge || !strings.Contains(recorder.Body.String(), "larger than the gateway takes") {
			t.Errorf("%s: %d %s", path, recorder.Code, recorder.Body)
		}
	}
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
