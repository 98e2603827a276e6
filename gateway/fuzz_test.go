package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzCommands sends any body to any command, as the administrator: nothing may
// break, and every answer is one that clients can read.
func FuzzCommands(f *testing.F) {
	r := newRig(f)
	routes, _ := r.RouteNames()
	index := map[string]int{}
	for i, names := range routes {
		for _, name := range names {
			index["/"+name] = i
		}
	}
	for _, e := range readExamples(f) {
		f.Add(uint8(index[e.paths[0]]), []byte(strings.Replace(e.request, `"token": "eyJ…"`, `"token": ""`, 1)))
	}
	f.Fuzz(func(t *testing.T, command uint8, body []byte) {
		inner := *r
		inner.t = t
		name := routes[int(command)%len(routes)][0]
		request := httptest.NewRequest(http.MethodPost, "/"+name, strings.NewReader(string(body)))
		request.Header.Set("Authorization", "Bearer "+r.token)
		status, _, answer := inner.serve(name, request)
		if status == http.StatusInternalServerError || status == http.StatusServiceUnavailable {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	})
}
