package gateway

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestWhoSendsSlowlyIsCutOff holds the real server against clients that take their
// time: none keeps its connection for longer than the timeouts say.
func TestWhoSendsSlowlyIsCutOff(t *testing.T) {
	t.Parallel()
	g, _ := newGateway(t, &fixedState{reviewer: reviewerFunc(rejecting)}, nil)
	r := run(t, g, 0, func() error { return nil })
	address := strings.TrimPrefix(r.api, "https://")
	for _, tt := range []struct {
		name, says string
		encrypted  bool
		atMost     time.Duration
	}{
		{"a handshake that never comes", "", false, readHeaderTimeout},
		{"a header that never ends", "POST /auth HTTP/1.1\r\nHost: x\r\nX: ", true, readHeaderTimeout},
		{"a body that never ends", "POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", true, readTimeout},
		{"chunks that never end", "PUT /v1/auth/k/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", true, readTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if tt.encrypted {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // what is tested is the server
			}
			began := time.Now()
			if err := conn.SetDeadline(began.Add(tt.atMost + 10*time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, tt.says); err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(conn) // it ends in one way or another
			if took := time.Since(began); took > tt.atMost+5*time.Second {
				t.Errorf("the connection lasted %s, and got %q", took, text)
			}
		})
	}
}

// TestDrainUnderLoad stops a server while clients send one request after the other:
// each that was begun is answered.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	var answered, begun atomic.Int64
	busy := make(chan struct{})
	r := run(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if begun.Add(1) == 50 {
			close(busy)
		}
		w.WriteHeader(http.StatusNoContent)
	}), 200*time.Millisecond, func() error { return nil })
	var clients sync.WaitGroup
	for range testConnections / 2 {
		clients.Go(func() {
			for {
				res, err := r.client.Get(r.api)
				if err != nil {
					return // nobody accepts connections any more
				}
				if res.StatusCode == http.StatusNoContent {
					answered.Add(1)
				}
				_ = res.Body.Close()
			}
		})
	}
	<-busy
	before := begun.Load()
	r.stop()
	clients.Wait()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if answered.Load() != begun.Load() || begun.Load() == before {
		t.Errorf("%d requests were begun, %d of them while it drained, and %d were answered", begun.Load(), begun.Load()-before, answered.Load())
	}
}
