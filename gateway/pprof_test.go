package gateway

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestProfilesHaveAListenerOfTheirOwn(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	r := run(t, http.NotFoundHandler(), 0, func() error { return nil }, func(o *ServerOptions) { o.ProfileListener = l })
	for path, want := range map[string]int{
		"/debug/pprof/": http.StatusOK, "/debug/pprof/heap?debug=1": http.StatusOK, "/debug/pprof/profile?seconds=1": http.StatusOK,
		"/debug/pprof/cmdline": http.StatusNotFound, "/": http.StatusNotFound,
	} {
		if got, text := r.get(t, base+path); got != want {
			t.Errorf("%s: %d %s", path, got, text)
		}
	}
	for _, other := range []string{r.api, r.metrics, r.health} {
		if got, text := r.get(t, other+"/debug/pprof/"); got != http.StatusNotFound || strings.Contains(text, "goroutine") {
			t.Errorf("%s has profiles: %d", other, got)
		}
	}
}
