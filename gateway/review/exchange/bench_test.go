package exchange

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkRoundTrip compares a Pool with net/http's Transport, 32 requests at a time.
// The server's part of the time is in both.
func BenchmarkRoundTrip(b *testing.B) {
	request, answer := strings.Repeat("r", 1400), bytes.Repeat([]byte("a"), 2000)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(answer)
	}))
	defer server.Close()
	transport, ok := server.Client().Transport.(*http.Transport)
	if !ok {
		b.Fatal("no transport")
	}
	transport.MaxIdleConnsPerHost = 32
	config := transport.TLSClientConfig.Clone()
	config.ServerName = "example.com"
	pool, err := New(Options{Address: server.Listener.Addr().String(), Dial: new(net.Dialer).DialContext, TLS: config, MaxAnswer: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer pool.CloseIdleConnections()
	for name, by := range map[string]http.RoundTripper{"pool": pool, "net/http": transport} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL, strings.NewReader(request))
					if err != nil {
						b.Error(err)
						return
					}
					res, err := by.RoundTrip(req)
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := io.Copy(io.Discard, res.Body); err != nil {
						b.Error(err)
					}
					_ = res.Body.Close()
				}
			})
		})
	}
}
