package gateway

import (
	"net/http"
	"net/http/pprof"
)

// profiles serves what Go tells about a running program. The profile of the command
// line is left out: it is of no use to who started it.
func (s *Server) profiles() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return s.server(mux) // a profile of some seconds extends the timeout by as many
}
